"""A large set of 64-bit hashes in a file, asked for many hashes at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bert_jax.data.files import open_array, save_array

_MAX_TABLE_BITS = 26
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_FINAL_MULTIPLIER = np.uint64(0xBF58476D1CE4E5B9)


def shingle_hashes(tokens: np.ndarray, size: int) -> np.ndarray:
    """uint64[max(0, T - size + 1)]: a hash of each stretch of `size` tokens."""
    count = max(0, len(tokens) - size + 1)
    hashes = np.zeros(count, np.uint64)
    for place in range(size):
        hashes *= _MULTIPLIER
        hashes += tokens[place : place + count].astype(np.uint64)
    return mix(hashes)


def mix(hashes: np.ndarray) -> np.ndarray:
    """uint64[…], in place: every bit depends on all bits; distinct stay distinct."""
    hashes ^= hashes >> np.uint64(31)
    hashes *= _FINAL_MULTIPLIER
    hashes ^= hashes >> np.uint64(29)
    return hashes


def save_hash_set(path: Path, hashes: np.ndarray) -> None:
    """Writes the distinct ones of uint64[N] hashes, in order."""
    save_array(path, np.unique(hashes))


class HashSet:
    """What `save_hash_set` wrote, memory-mapped.

    A table of the first bits answers most questions: it has 16 places for each hash, up
    to 64 MB in all.

    Attributes:
        members: uint64[N], in order.
    """

    def __init__(self, path: Path):
        self.members = np.asarray(open_array(path))
        wanted = int(max(len(self.members), 1)).bit_length() + 4
        bits = min(_MAX_TABLE_BITS, wanted)
        self._shift = np.uint64(64 - bits)
        self._table = np.zeros(1 << bits, bool)
        self._table[self.members >> self._shift] = True

    def find(self, hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which of uint64[M] hashes are members.

        Returns:
            int64[F] places in `hashes`, in order, and int64[F] places in `members`.
        """
        likely = np.flatnonzero(self._table[hashes >> self._shift])
        if not len(likely):
            return likely, likely
        asked = hashes[likely]
        member = np.minimum(np.searchsorted(self.members, asked), len(self.members) - 1)
        found = self.members[member] == asked
        return likely[found], member[found]
