"""Held-out documents that also stand, nearly so, in the training text.

A document is seen as the set of its shingles, all stretches of eight tokens. Where more
than half of the shingles of a held-out document stand somewhere in the training text, it
is a near-duplicate; unrelated texts share a few in a hundred. Only the shingles of the
held-out side are kept in memory, a sample of them when it is large. A long document that
has one copied passage among much of its own is not found.
"""

from __future__ import annotations

import numpy as np

SHINGLE_TOKENS = 8
MAX_SHARE = 0.5
MAX_SHINGLES = 1 << 22
_TABLE_BITS = 26
_CHUNK_TOKENS = 1 << 20
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def shingle_hashes(tokens: np.ndarray) -> np.ndarray:
    """uint64[max(0, T - 7)]: a hash of each stretch of eight tokens."""
    count = max(0, len(tokens) - SHINGLE_TOKENS + 1)
    hashes = np.zeros(count, np.uint64)
    for place in range(SHINGLE_TOKENS):
        hashes *= _MULTIPLIER
        hashes += tokens[place : place + count].astype(np.uint64)
    hashes ^= hashes >> np.uint64(31)
    hashes *= np.uint64(0xBF58476D1CE4E5B9)
    hashes ^= hashes >> np.uint64(29)
    return hashes


class DuplicateFinder:
    """Finds the near-duplicates of training text among held-out documents.

    First `add_held_out` for all held-out shards, then `add_training` for all training
    shards, then `duplicates`.

    Args:
        num_held_out_tokens: all tokens that `add_held_out` will see.
    """

    def __init__(self, num_held_out_tokens: int):
        rate = min(1.0, MAX_SHINGLES / max(num_held_out_tokens, 1))
        self._limit = np.uint64(min(int(rate * 2**64), 2**64 - 1))
        self._num_documents = 0
        self._hashes: list[np.ndarray] = []
        self._documents: list[np.ndarray] = []
        self._sorted = np.zeros(0, np.uint64)
        self._found = np.zeros(0, bool)
        self._table = np.zeros(0, bool)

    def add_held_out(
        self, tokens: np.ndarray, sentence_offsets: np.ndarray, document_offsets: np.ndarray
    ) -> None:
        """Takes shingles of one held-out shard, of each document at least one."""
        bounds = np.asarray(sentence_offsets)[np.asarray(document_offsets)]
        for start, stop in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            hashes = np.unique(shingle_hashes(tokens[start:stop]))
            sample = hashes[: max(1, int(np.searchsorted(hashes, self._limit, "right")))]
            self._hashes.append(sample)
            self._documents.append(np.full(len(sample), self._num_documents, np.int64))
            self._num_documents += 1

    def add_training(self, tokens: np.ndarray) -> None:
        """Marks the held-out shingles that stand in one training shard."""
        if not len(self._table):
            self._index()
        shift = np.uint64(64 - _TABLE_BITS)
        for start in range(0, len(tokens), _CHUNK_TOKENS):
            stop = start + _CHUNK_TOKENS + SHINGLE_TOKENS - 1
            hashes = shingle_hashes(tokens[start:stop])
            hashes = hashes[self._table[hashes >> shift]]
            place = np.searchsorted(self._sorted, hashes)
            place = np.minimum(place, len(self._sorted) - 1)
            self._found[place[self._sorted[place] == hashes]] = True

    def duplicates(self) -> np.ndarray:
        """bool[D]: which held-out documents are near-duplicates, in the order added."""
        if not self._hashes or not len(self._sorted):
            return np.zeros(self._num_documents, bool)
        hashes, documents = np.concatenate(self._hashes), np.concatenate(self._documents)
        found = self._found[np.searchsorted(self._sorted, hashes)]
        shingles = np.bincount(documents, minlength=self._num_documents)
        shared = np.bincount(documents, weights=found, minlength=self._num_documents)
        return np.asarray(shared > MAX_SHARE * shingles)

    def _index(self) -> None:
        self._table = np.zeros(1 << _TABLE_BITS, bool)
        if self._hashes:
            self._sorted = np.unique(np.concatenate(self._hashes))
        self._found = np.zeros(len(self._sorted), bool)
        self._table[self._sorted >> np.uint64(64 - _TABLE_BITS)] = True
