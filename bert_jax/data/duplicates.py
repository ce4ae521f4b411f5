"""Duplicates found outside of memory: hashes spilled by range, compared by bucket.

Every range of documents spills one file of (hash, place) rows, sorted by hash; a bucket is
all rows, of all files, whose hashes have one prefix, and is a stretch of each file. So
memory is bounded by the size of a range and of a bucket, whatever the corpus.

The place of a document is its number in the whole corpus; held-out documents have the
highest bit set. Of rows with one hash the one of the lowest place stays: the first
training document, or if there is none the first held-out one. A text that stands on both
sides thus leaves the held-out side, as near-duplicates do.

Two hashes are compared by the same means: that of the text, white space apart (exact
duplicates), and those of the bands of a MinHash signature (near-duplicates). Exact ones
are equal in 64 bits of BLAKE2b: among a hundred million different documents, the chance
that any two are taken for equal is 3 in 10,000.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bert_jax.data.files import open_array, save_array

HELD_OUT_BIT = 1 << 63
ROWS_PER_BUCKET = 1 << 20


def text_hash(text: str) -> int:
    """64 bits that stand for a text, its white space apart."""
    content = " ".join(text.split()).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")


def place_of(number: int, is_held_out: bool) -> int:
    """The place of a document that has this number in the corpus."""
    return number | HELD_OUT_BIT if is_held_out else number


def first_of_each(hashes: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Parts rows into the first of each hash and all others.

    Args:
        hashes: uint64[N].
        places: uint64[N].

    Returns:
        uint64[K, 2] rows (hash, place) that are first, sorted by hash, and uint64[N - K]
        places of the others.
    """
    order = np.lexsort((places, hashes))
    hashes, places = hashes[order], places[order]
    is_first = np.ones(len(hashes), bool)
    is_first[1:] = hashes[1:] != hashes[:-1]
    return np.stack([hashes[is_first], places[is_first]], axis=1), places[~is_first]


def spill_path(directory: Path, kind: str, index: int) -> Path:
    """The rows of one range."""
    return directory / "work" / f"range-{index:05d}.{kind}.npy"


def num_buckets(num_rows: int) -> int:
    """How many buckets for so many rows at most: a power of two."""
    return 1 << max(0, -(-num_rows // ROWS_PER_BUCKET) - 1).bit_length()


@dataclasses.dataclass(frozen=True)
class Bucket:
    """One bucket of `count`, of the rows of one kind: "exact" or "near"."""

    kind: str
    index: int
    count: int


class DuplicatesStage:
    """Finds the duplicates of one bucket: writes the sorted places to leave out.

    Args:
        directory: that is being prepared.
        num_ranges: ranges that have spilled.
    """

    def __init__(self, directory: Path, num_ranges: int):
        self._directory = directory
        self._num_ranges = num_ranges

    def marker(self, item: Bucket) -> Path:
        """The places to leave out."""
        return self._directory / "work" / f"duplicates-{item.kind}-{item.index:05d}.npy"

    def __call__(self, item: Bucket) -> None:
        """Compares the rows of one bucket."""
        parts = [np.zeros((0, 2), np.uint64)]
        for index in range(self._num_ranges):
            rows = open_array(spill_path(self._directory, item.kind, index))
            parts.append(np.array(_stretch(rows, item)))
        rows = np.concatenate(parts)
        _, others = first_of_each(rows[:, 0], rows[:, 1])
        save_array(self.marker(item), np.unique(others))


def _stretch(rows: np.ndarray, bucket: Bucket) -> np.ndarray:
    """The rows of a bucket in the sorted rows of one range."""
    width = 2**64 // bucket.count
    # The hash 2**64 does not exist: the last bucket ends with the file.
    edges = [bucket.index * width, (bucket.index + 1) * width]
    start, stop = np.searchsorted(
        rows[:, 0], np.array([min(edge, 2**64 - 1) for edge in edges], np.uint64)
    )
    return rows[start : len(rows) if bucket.index + 1 == bucket.count else stop]


def are_left_out(markers: Sequence[Path], places: np.ndarray) -> np.ndarray:
    """bool[D]: which of the places of one range are in the files of `DuplicatesStage`.

    Args:
        markers: files of all buckets of one kind.
        places: uint64[D] of the documents of a range, in any order.
    """
    found = np.zeros(len(places), bool)
    for path in markers:
        others = open_array(path)
        if len(others):
            at = np.minimum(np.searchsorted(others, places), len(others) - 1)
            found |= np.asarray(others[at]) == places
    return found
