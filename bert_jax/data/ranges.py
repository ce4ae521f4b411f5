"""Ranges of documents turned into token shards, by this process or several.

A range is a fixed stretch of one source, so that its shard is the same whoever makes it.
A range that is done has its report beside it, and is not done again.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import numpy as np

from bert_jax.corpora.documents import Document, DocumentSource
from bert_jax.data.files import save_json
from bert_jax.data.holdout import Holdout, documents_per_read
from bert_jax.data.shards import ShardBuilder, write_shard
from bert_jax.text.sentences import split_sentences
from bert_jax.text.tokenizer import Tokenizer, load_tokenizer

# Text that makes one shard: enough to be worth a file, little enough to be redone.
MAX_RANGE_BYTES = 16_000_000
MIN_RANGE_BYTES = 500_000


@dataclasses.dataclass(frozen=True)
class Range:
    """Documents [start, stop) of one source; `index` names the shard."""

    index: int
    source: int
    start: int
    stop: int


@dataclasses.dataclass(frozen=True)
class Job:
    """What a worker needs; can be sent to another process.

    Attributes:
        directory: the directory that is being prepared, with its tokenizer in place.
        sources: what the ranges refer to.
        holdouts: for each source, which documents are held out.
        language: of the text, for the sentence splitter.
    """

    directory: Path
    sources: tuple[DocumentSource, ...]
    holdouts: tuple[Holdout, ...]
    language: str


def plan_ranges(sources: Sequence[DocumentSource]) -> list[Range]:
    """Cuts all sources into ranges of about equal size, at least 16 if there is much."""
    total = sum(source.num_bytes for source in sources)
    size = min(MAX_RANGE_BYTES, max(MIN_RANGE_BYTES, total // 16))
    ranges: list[Range] = []
    for number, source in enumerate(sources):
        pieces = max(1, min(len(source), round(source.num_bytes / size)))
        edges = [i * len(source) // pieces for i in range(pieces + 1)]
        for start, stop in itertools.pairwise(edges):
            ranges.append(Range(len(ranges), number, start, stop))
    return ranges


def report_path(directory: Path, index: int) -> Path:
    """Where the counts of a finished range are."""
    return directory / "work" / f"range-{index:05d}.json"


def run_ranges(
    job: Job,
    ranges: Sequence[Range],
    *,
    num_processes: int,
    done: Callable[[int], None],
) -> None:
    """Does those ranges that are not done yet.

    Args:
        job: what to do.
        ranges: where.
        num_processes: local processes; 1 works in this one.
        done: called with the number of documents of each finished range.

    Raises:
        RuntimeError: a worker process died, as when memory is short.
    """
    todo = []
    for item in ranges:
        if report_path(job.directory, item.index).exists():
            done(item.stop - item.start)
        else:
            todo.append(item)
    if not todo:
        return
    if num_processes == 1 or len(todo) == 1:
        worker = RangeWorker(job)
        for item in todo:
            worker.run(item)
            done(item.stop - item.start)
        return
    pool = ProcessPoolExecutor(
        min(num_processes, len(todo)),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(job,),
    )
    try:
        waiting = {pool.submit(_run_in_worker, item): item for item in todo}
        for future in as_completed(waiting):
            future.result()
            done(waiting[future].stop - waiting[future].start)
    except BrokenProcessPool:
        raise RuntimeError(
            "a process that prepares data ended abruptly (is memory short?); run the same "
            "command again: finished shards are kept"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


class RangeWorker:
    """Turns ranges into shards.

    Args:
        job: what to do.
    """

    def __init__(self, job: Job):
        self._job = job
        self._tokenizer = load_tokenizer(job.directory / "tokenizer")

    def run(self, item: Range) -> None:
        """Writes the shards of one range, training and held-out, then its report."""
        source = self._job.sources[item.source]
        holdout = self._job.holdouts[item.source]
        starts_V = self._tokenizer.word_starts_V
        builders = {"train": ShardBuilder(starts_V), "held_out": ShardBuilder(starts_V)}
        dropped = {"empty_documents": 0, "empty_sentences": 0}
        size = documents_per_read(source)
        for first in range(item.start, item.stop, size):
            documents = source.read(first, min(first + size, item.stop))
            encoded = encode_documents(documents, self._tokenizer, self._job.language)
            for document, (ids, lengths) in zip(documents, encoded, strict=True):
                filled = lengths[lengths > 0]
                dropped["empty_sentences"] += len(lengths) - len(filled)
                if not len(filled):
                    dropped["empty_documents"] += 1
                    continue
                side = "held_out" if holdout.takes(document) else "train"
                builders[side].add(ids, filled)
        self._write(item, builders, dropped)

    def _write(
        self, item: Range, builders: dict[str, ShardBuilder], dropped: dict[str, int]
    ) -> None:
        directory = self._job.directory
        work = directory / "work"
        counts: dict[str, Any] = {"dropped": dropped}
        for side, builder in builders.items():
            arrays = builder.arrays()
            name = f"{side}-{item.index:05d}"
            tokens = directory / "shards" / name if side == "train" else work / name
            write_shard(tokens, work / name, arrays)
            counts[side] = {
                "documents": len(arrays[2]) - 1,
                "sentences": len(arrays[1]) - 1,
                "tokens": len(arrays[0]),
            }
        save_json(report_path(directory, item.index), counts)


def encode_documents(
    documents: Sequence[Document], tokenizer: Tokenizer, language: str
) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each document its ids end to end, and the number of ids of each sentence."""
    sentences = [split_sentences(document.text, language) for document in documents]
    ids, offsets = tokenizer.encode_batch([text for texts in sentences for text in texts])
    lengths = np.diff(offsets)
    encoded = []
    sentence = 0
    for texts in sentences:
        end = sentence + len(texts)
        encoded.append((ids[offsets[sentence] : offsets[end]], lengths[sentence:end]))
        sentence = end
    return encoded


def read_report(directory: Path, index: int) -> dict[str, Any]:
    """The counts of a finished range."""
    values: dict[str, Any] = json.loads(report_path(directory, index).read_text())
    return values


_worker: RangeWorker


def _start_worker(job: Job) -> None:
    """Sets up a worker process: it ends with its parent, which alone heeds Ctrl-C."""
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # One thread each: there are as many workers as cores.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _worker = RangeWorker(job)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)


def _run_in_worker(item: Range) -> None:
    _worker.run(item)
