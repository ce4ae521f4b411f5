"""From drafts to shards: duplicates left out, ids counted, the two splits told apart.

The training text of many ranges makes one shard, so that a large corpus has no more files
than a process may hold open. Held-out text waits in work/ until all training text has been
seen, then leaves out what stands there, nearly so.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bert_jax.data.drafts import Draft, Texts, draft_prefix, open_draft
from bert_jax.data.duplicates import are_left_out
from bert_jax.data.files import open_array, save_array, save_json
from bert_jax.data.hash_set import HashSet
from bert_jax.data.manifest import describe_files
from bert_jax.data.near_duplicates import mark_shared, near_duplicates, save_held_out
from bert_jax.data.ranges import Range
from bert_jax.data.shards import (
    ShardWriter,
    array_path,
    read_shard,
    token_dtype,
    word_start_bit,
)

MAX_SHARDS = 200
HELD_OUT_FILE = "work/held_out_shingles.npy"
FOUND_FILE = "work/found_shingles.npy"
# How a kind of duplicates is called among the reasons for which documents were dropped.
REASONS = {"exact": "exact_duplicates", "near": "near_duplicates"}
_COUNT_CHUNK = 1 << 22


@dataclasses.dataclass(frozen=True)
class Shard:
    """The ranges that make one shard of each split."""

    index: int
    ranges: tuple[Range, ...]


def plan_shards(ranges: Sequence[Range]) -> list[Shard]:
    """Consecutive ranges for each of at most 200 shards."""
    count = min(MAX_SHARDS, len(ranges))
    edges = [i * len(ranges) // count for i in range(count + 1)]
    return [Shard(i, tuple(ranges[edges[i] : edges[i + 1]])) for i in range(count)]


def save_held_out_shingles(directory: Path, num_ranges: int, limit: int) -> None:
    """Writes what `ShardStage` looks for in the training text."""
    drafts = (open_draft(draft_prefix(directory, index)) for index in range(num_ranges))
    texts = (draft.texts.take(draft.held_out) for draft in drafts)
    save_held_out(directory / HELD_OUT_FILE, texts, limit)


class ShardStage:
    """Makes one training shard, and the held-out text of the same ranges in work/.

    Args:
        directory: that is being prepared.
        left_out: for each kind of duplicates, the files that tell which to leave out.
        vocab_size: entries of the vocabulary.
    """

    def __init__(self, directory: Path, left_out: dict[str, list[Path]], vocab_size: int):
        self._arguments = (directory, left_out, vocab_size)
        self._directory, self._left_out, self._vocab_size = self._arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return ShardStage, self._arguments

    def marker(self, item: Shard) -> Path:
        """The report of a training shard."""
        return self._directory / "work" / f"train-{item.index:05d}.json"

    def __call__(self, item: Shard) -> None:
        """Writes the training shard, its counts, the held-out rest, and the report."""
        name = f"train-{item.index:05d}"
        work = self._directory / "work"
        tokens_prefix, rest = (
            self._directory / "shards" / name,
            f"held_out-{item.index:05d}",
        )
        dtype = token_dtype(self._vocab_size)
        dropped: Counter[str] = Counter()
        by_source: dict[int, Counter[str]] = {}
        counts_V = np.zeros(self._vocab_size, np.int64)
        found = np.zeros(len(self._held_out.members), bool)
        with (
            ShardWriter(tokens_prefix, work / name, dtype) as training,
            ShardWriter(work / rest, work / rest, dtype) as held_out,
        ):
            for part in item.ranges:
                draft = self._kept(part, dropped)
                texts = draft.texts.take(~draft.held_out)
                training.add(texts)
                held_out.add(draft.texts.take(draft.held_out))
                counts_V += count_ids(texts.tokens, self._vocab_size)
                mark_shared(self._held_out, texts.tokens, found)
                of_source = by_source.setdefault(part.source, Counter())
                of_source["documents"] += len(texts.document_offsets) - 1
                of_source["tokens"] += len(texts.tokens)
            counts = training.counts()
        save_array(array_path(work / name, "counts"), counts_V)
        save_array(array_path(work / name, "found"), np.packbits(found))
        report = {
            "dropped": dropped,
            "counts": counts,
            "sources": by_source,
            "files": describe_files(self._directory, [array_path(tokens_prefix, "tokens")]),
        }
        save_json(self.marker(item), report)

    @functools.cached_property
    def _held_out(self) -> HashSet:
        return HashSet(self._directory / HELD_OUT_FILE)

    def _kept(self, part: Range, dropped: Counter[str]) -> Draft:
        """The draft of a range without its duplicates."""
        draft = open_draft(draft_prefix(self._directory, part.index))
        for kind, paths in self._left_out.items():
            others = are_left_out(paths, draft.places)
            dropped[REASONS[kind]] += int(others.sum())
            draft = draft.take(~others)
        return draft


class HeldOutStage:
    """Makes one held-out shard, without the near-duplicates of training text.

    Args:
        directory: that is being prepared, with FOUND_FILE in place.
        limit: the `sample_limit` of the held-out shingles.
    """

    def __init__(self, directory: Path, limit: int):
        self._directory, self._limit = directory, limit

    def __reduce__(self) -> tuple[Any, ...]:
        return HeldOutStage, (self._directory, self._limit)

    def marker(self, item: Shard) -> Path:
        """The report of a held-out shard."""
        return self._directory / "work" / f"eval-{item.index:05d}.json"

    def __call__(self, item: Shard) -> None:
        """Writes the held-out shard and its report."""
        work, name = self._directory / "work", f"eval-{item.index:05d}"
        texts = Texts(*read_shard(work / f"held_out-{item.index:05d}"))
        held_out, found = self._found
        is_near = near_duplicates(held_out, found, texts, self._limit)
        tokens_prefix = self._directory / "shards" / name
        with ShardWriter(tokens_prefix, work / name, texts.tokens.dtype) as shard:
            for first, piece in texts.pieces():
                count = len(piece.document_offsets) - 1
                shard.add(piece.take(~is_near[first : first + count]))
            counts = shard.counts()
        report = {
            "dropped": {"near_duplicates_of_training_text": int(is_near.sum())},
            "counts": counts,
            "files": describe_files(self._directory, [array_path(tokens_prefix, "tokens")]),
        }
        save_json(self.marker(item), report)

    @functools.cached_property
    def _found(self) -> tuple[HashSet, np.ndarray]:
        held_out = HashSet(self._directory / HELD_OUT_FILE)
        bits = open_array(self._directory / FOUND_FILE)
        return held_out, np.unpackbits(bits, count=len(held_out.members)).astype(bool)


def save_found(directory: Path, shards: Sequence[Shard]) -> None:
    """Joins what the training shards have found of the held-out shingles."""
    found: np.ndarray | None = None
    for shard in shards:
        bits = open_array(
            array_path(directory / "work" / f"train-{shard.index:05d}", "found")
        )
        found = np.array(bits) if found is None else found | bits
    assert found is not None
    save_array(directory / FOUND_FILE, found)


def read_reports(
    stage: ShardStage | HeldOutStage, shards: Sequence[Shard]
) -> Iterator[Any]:
    """The reports of finished shards, in order."""
    for shard in shards:
        yield json.loads(stage.marker(shard).read_text())


def count_ids(tokens: np.ndarray, vocab_size: int) -> np.ndarray:
    """int64[V]: how often each id stands among stored tokens."""
    counts_V = np.zeros(vocab_size, np.int64)
    mask = tokens.dtype.type(word_start_bit(tokens.dtype) - 1)
    for start in range(0, len(tokens), _COUNT_CHUNK):
        ids = tokens[start : start + _COUNT_CHUNK] & mask
        counts_V += np.bincount(ids, minlength=vocab_size)
    return counts_V
