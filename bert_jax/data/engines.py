"""Who does the work of preparing: local processes, or a cluster through Apache Beam.

The work is cut into stages, a stage into items. A stage is a function of one item that
writes files, the last of them its marker: what has a marker is not done again. Engines
differ in where they call that function and in nothing else, so that the files are the same
whichever did the work.
"""

from __future__ import annotations

import functools
import multiprocessing
import multiprocessing.connection
import os
import pickle
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, Protocol

_ENDED = (
    "a process that prepares data ended abruptly (is memory short?); run the same command "
    "again: finished shards are kept"
)


class Stage(Protocol):
    """One kind of work; can be pickled. What it needs is opened where it is called."""

    def marker(self, item: Any) -> Path:
        """The file that says that an item is done."""

    def __call__(self, item: Any) -> None:
        """Does one item, anew if it was begun: every file is written as a whole."""


class Engine(Protocol):
    """What calls a stage for each of its items."""

    def run(self, stage: Stage, items: Sequence[Any], done: Callable[[Any], None]) -> None:
        """Does all items, in any order, and tells `done` of each."""


def run_stage(
    engine: Engine, stage: Stage, items: Sequence[Any], done: Callable[[Any], None]
) -> None:
    """Does those items of a stage that are not done yet.

    Args:
        engine: who does them.
        stage: what is done.
        items: to what; picklable.
        done: called with each item that is done, be it now or before.

    Raises:
        RuntimeError: a worker ended abruptly, or its files are not to be seen from here.
    """
    todo = []
    for item in items:
        if stage.marker(item).exists():
            done(item)
        else:
            todo.append(item)
    if not todo:
        return
    engine.run(stage, todo, done)
    for item in todo:
        if not stage.marker(item).exists():
            raise RuntimeError(
                f"{stage.marker(item)} was written by a worker and is not here: "
                "data.directory must be on a file system that all workers share"
            )


class LocalEngine:
    """Processes of this machine, started when there is something to do; a context.

    Args:
        num_processes: how many work at once; 1 works in this process.
    """

    def __init__(self, num_processes: int):
        self._num_processes = num_processes
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> LocalEngine:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def run(self, stage: Stage, items: Sequence[Any], done: Callable[[Any], None]) -> None:
        """See `Engine`."""
        if self._num_processes == 1 or len(items) == 1:
            for item in items:
                stage(item)
                done(item)
            return
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                self._num_processes,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=_start_worker,
            )
        pickled = pickle.dumps(stage)
        try:
            waiting = {self._pool.submit(_work, pickled, item): item for item in items}
            for future in as_completed(waiting):
                future.result()
                done(waiting[future])
        except BrokenProcessPool:
            raise RuntimeError(_ENDED) from None


def run_alone(function: Callable[..., None], *arguments: Any) -> None:
    """Calls a function in a process of its own, whose memory is given back at its end.

    Raises:
        ValueError: the function has raised it.
        RuntimeError: the process ended otherwise than by the function's return.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(
        target=_call_alone, args=(theirs, function, arguments), daemon=True
    )
    process.start()
    theirs.close()
    try:
        error = ours.recv()
    except EOFError:
        raise RuntimeError(_ENDED) from None
    finally:
        # By then it is done, or this process was interrupted.
        process.terminate()
        process.join()
    if error is not None:
        raise error


def _call_alone(
    result: multiprocessing.connection.Connection,
    function: Callable[..., None],
    arguments: Sequence[Any],
) -> None:
    _follow_parent()
    try:
        function(*arguments)
    except ValueError as error:
        result.send(error)
    else:
        result.send(None)


def num_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


def _start_worker() -> None:
    """Sets up one of many worker processes."""
    _follow_parent()
    # One thread each: there are as many workers as cores.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"


def _follow_parent() -> None:
    """Makes a process end with its parent, which alone heeds Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)


@functools.lru_cache(maxsize=1)
def _load_stage(pickled: bytes) -> Stage:
    """A stage in a worker; made once for all of its items."""
    stage: Stage = pickle.loads(pickled)
    return stage


def _work(pickled: bytes, item: Any) -> None:
    _load_stage(pickled)(item)
