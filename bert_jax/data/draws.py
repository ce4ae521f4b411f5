"""Random numbers whose stream never changes.

NumPy promises that a bit generator gives the same bits in every version, but not that
its distributions do. Batches must be the same for years, so the few distributions that
pairs need are made here from the bits of Philox.
"""

from __future__ import annotations

import hashlib

import numpy as np


class Draws:
    """Draws that depend on `key` alone.

    Args:
        key: words and integers; another key gives an independent stream.
    """

    def __init__(self, *key: str | int):
        seed = hashlib.sha256(repr(key).encode()).digest()
        self._philox = np.random.Philox(key=int.from_bytes(seed[:16], "little"))

    def bits(self, size: int) -> np.ndarray:
        """uint64[size], uniform."""
        return np.asarray(self._philox.random_raw(size), np.uint64)

    def below(self, limits: np.ndarray) -> np.ndarray:
        """int64[N], uniform in [0, limit); each limit in [1, 2**32)."""
        high = self.bits(len(limits)) >> np.uint64(32)
        return ((high * limits.astype(np.uint64)) >> np.uint64(32)).astype(np.int64)

    def chance(self, probability: float, size: int) -> np.ndarray:
        """bool[size], each true with this probability."""
        return (self.bits(size) >> np.uint64(11)) < np.uint64(round(probability * 2**53))

    def heads(self, tosses: np.ndarray) -> np.ndarray:
        """int64[N]: how many of each number of fair coin tosses show heads."""
        heads = np.zeros(len(tosses), np.int64)
        left = np.array(tosses, np.int64)
        todo = np.flatnonzero(left > 0)
        while len(todo):
            take = np.minimum(left[todo], 64)
            words = self.bits(len(todo)) >> (64 - take).astype(np.uint64)
            heads[todo] += np.bitwise_count(words)
            left[todo] -= take
            todo = todo[left[todo] > 0]
        return heads

    def order(self, count: int) -> np.ndarray:
        """uint32[count], a random order of 0 … count - 1; 8 bytes each while it is made."""
        assert count < 2**32
        keys = (self.bits(count) >> np.uint64(32)) << np.uint64(32)
        keys |= np.arange(count, dtype=np.uint64)
        keys.sort()
        return keys.astype(np.uint32)
