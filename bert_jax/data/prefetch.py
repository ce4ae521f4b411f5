"""Batches made ahead of their use, by a thread or by processes, and watched.

Grain does the work. Its processes are spawned, never forked, and see no accelerator. What
Grain does not do is to wait for a batch with a deadline: whoever waits for a worker that
hangs (a network file system that went away, say) would wait forever, and say nothing.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

from bert_jax.batch import PretrainingBatch

_POLL_SECONDS = 0.2
_CLOSE_SECONDS = 30.0


def prefetch_batches(
    batch_at: Callable[[int], PretrainingBatch],
    start_step: int,
    stop_step: int,
    *,
    prefetch: int,
    num_workers: int,
    stall_seconds: float,
    what: str,
) -> Iterator[PretrainingBatch]:
    """Batches start_step … stop_step - 1 in order, whatever the number of workers.

    Args:
        batch_at: makes the batch of a step; picklable where there are workers.
        start_step: the first batch.
        stop_step: end of the batches.
        prefetch: batches to hold ready; 0 makes each when it is asked for.
        num_workers: processes that make them; with 0 a thread of this process does.
        stall_seconds: longest wait for one batch.
        what: name of the batches, for messages.

    Raises:
        RuntimeError: a worker ended, or gave nothing for `stall_seconds`.
    """
    if not prefetch:
        yield from map(batch_at, range(start_step, stop_step))
        return
    ready = 1 if num_workers else prefetch  # processes hold theirs ready themselves
    waiting: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue(maxsize=ready)
    stop = threading.Event()
    puller = threading.Thread(
        target=_pull,
        args=(batch_at, range(start_step, stop_step), prefetch, num_workers, waiting, stop),
        name=f"pull {what}",
        daemon=True,
    )
    puller.start()
    is_stuck = False
    try:
        for step in range(start_step, stop_step):
            worker = (
                f"worker {(step - start_step) % num_workers}" if num_workers else "thread"
            )
            try:
                batch, error = waiting.get(timeout=stall_seconds)
            except queue.Empty:
                is_stuck = True
                _kill_workers()
                raise RuntimeError(
                    f"{what}: the input {worker} gave no batch {step} for "
                    f"{stall_seconds:g} s (data.stall_seconds); it hangs: is the file "
                    "system of data.directory there? The same command again goes on from "
                    "the last checkpoint"
                ) from None
            if error is not None:
                if num_workers and not isinstance(error, ValueError):
                    raise RuntimeError(
                        f"{what}: the input {worker} ended before batch {step} (is memory "
                        f"short?): {str(error).splitlines()[0]}"
                    ) from error
                raise error
            yield batch
    finally:
        stop.set()
        if not is_stuck:
            puller.join(_CLOSE_SECONDS)


def _pull(
    batch_at: Callable[[int], PretrainingBatch],
    steps: range,
    prefetch: int,
    num_workers: int,
    waiting: queue.Queue[tuple[Any, BaseException | None]],
    stop: threading.Event,
) -> None:
    """Hands on what Grain makes, or the error that ends it, until told to stop."""

    def hand_on(item: tuple[Any, BaseException | None]) -> None:
        while not stop.is_set():
            with contextlib.suppress(queue.Full):
                waiting.put(item, timeout=_POLL_SECONDS)
                return

    try:
        with _open(batch_at, steps, prefetch, num_workers) as batches:
            for batch in batches:
                hand_on((batch, None))
                if stop.is_set():
                    return
    except BaseException as error:
        hand_on((None, error))


@contextlib.contextmanager
def _open(
    batch_at: Callable[[int], PretrainingBatch],
    steps: range,
    prefetch: int,
    num_workers: int,
) -> Iterator[Iterator[PretrainingBatch]]:
    """Grain's iterator over the batches; its processes end with the block."""
    # Grain imports JAX, and this package must be importable without it.
    import grain
    from absl import flags

    dataset = grain.MapDataset.range(steps.start, steps.stop).map(batch_at)
    # No threads of Grain's: they are waited for when the program ends, however they hang.
    reading = grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)
    if not num_workers:
        yield iter(dataset.to_iter_dataset(reading))
        return
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()  # Grain hands absl's flags to its processes
    workers = grain.MultiprocessingOptions(
        num_workers=num_workers, per_worker_buffer_size=-(-prefetch // num_workers)
    )
    # Grain starts its processes one by one, as it comes to them.
    with _without_accelerator():
        batches = iter(dataset.to_iter_dataset(reading).mp_prefetch(workers))
        try:
            yield batches
        finally:
            batches.close()


def _kill_workers() -> None:
    """Ends Grain's processes, which the end of the program would wait for, at once."""
    for process in multiprocessing.active_children():
        if process.name.startswith("grain"):
            process.kill()


@contextlib.contextmanager
def _without_accelerator() -> Iterator[None]:
    """Processes that start meanwhile see no accelerator; this one has chosen its own."""
    before = os.environ.get("JAX_PLATFORMS")
    os.environ["JAX_PLATFORMS"] = "cpu"
    try:
        yield
    finally:
        if before is None:
            del os.environ["JAX_PLATFORMS"]
        else:
            os.environ["JAX_PLATFORMS"] = before
