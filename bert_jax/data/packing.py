"""Several sequences in one row, planned from their lengths alone.

The sequences of an epoch are counted by length, and the counts are packed: from the
longest length to the shortest, each takes the rows with the least room that still holds it,
or opens new ones. Rows that are alike are one entry with a count, so that the time for this
depends on the number of lengths and not on that of sequences; handing the sequences out to
the rows is a sort.

Source: Krell et al. 2021, "Efficient Sequence Packing without Cross-contamination",
appendix: histogram packing, longest-pack-first.

Shapes: N sequences, R rows.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bert_jax.data.draws import Draws
from bert_jax.data.files import open_array, save_array, save_json
from bert_jax.data.shards import offsets_of

_CHUNK = 1 << 22


class Rows(NamedTuple):
    """Which sequences stand in which row. Rows of one size stand together, in `members`.

    Attributes:
        members: uint32[N], sequences, row after row.
        num_by_size: int64[S], how many rows have 1, 2, … S sequences, in that order.
    """

    members: np.ndarray
    num_by_size: np.ndarray

    @property
    def num_rows(self) -> int:
        """R."""
        return int(self.num_by_size.sum())

    def sequences(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The sequences of some rows, end to end, and how many each row has.

        Args:
            rows: int[B], each in [0, R).
        """
        sizes = np.arange(1, len(self.num_by_size) + 1)
        first_row = offsets_of(self.num_by_size)
        first_member = offsets_of(self.num_by_size * sizes)
        group = np.searchsorted(first_row, rows, side="right") - 1
        size = sizes[group]
        start = first_member[group] + (rows - first_row[group]) * size
        place = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size)
        return np.asarray(self.members[np.repeat(start, size) + place]), size

    def save(self, folder: Path) -> None:
        """Writes members.npy and num_by_size.json."""
        save_array(folder / "members.npy", self.members)
        save_json(folder / "num_by_size.json", self.num_by_size.tolist())

    @classmethod
    def load(cls, folder: Path) -> Rows:
        """Reads what `save` wrote, memory-mapped."""
        counts = json.loads((folder / "num_by_size.json").read_text())
        members = np.asarray(open_array(folder / "members.npy"))
        return cls(members, np.array(counts, np.int64))


def pack_lengths(
    lengths: np.ndarray, *, row_length: int, max_per_row: int, draws: Draws
) -> Rows:
    """Packs sequences into rows; which of equal length go together is random.

    Args:
        lengths: uint16[N], N < 2³², each in [1, row_length].
        row_length: L, tokens of a row; below 2¹⁶.
        max_per_row: S, most sequences in a row.
        draws: random numbers of this plan and no other.

    Memory: 12 bytes for each sequence beside `lengths`.
    """
    assert len(lengths) < 2**32 and row_length < 2**16
    # Length, then 16 random bits, then the sequence: sorted, each length is a stretch of
    # sequences in random order.
    keys = draws.bits(len(lengths))
    for start in range(0, len(keys), _CHUNK):
        part = keys[start : start + _CHUNK]
        part &= np.uint64(0xFFFF << 32)
        part |= lengths[start : start + _CHUNK].astype(np.uint64) << np.uint64(48)
        part |= np.arange(start, start + len(part), dtype=np.uint64)
    keys.sort()
    edges = np.arange(row_length + 2, dtype=np.uint64) << np.uint64(48)
    first = np.searchsorted(keys, edges)
    groups = _pack_histogram(np.diff(first), row_length, max_per_row)

    members = np.empty(len(lengths), np.uint32)
    num_by_size = np.zeros(max_per_row, np.int64)
    filled = 0
    for size in range(1, max_per_row + 1):
        for row, count in groups:
            if len(row) != size:
                continue
            block = members[filled : filled + count * size].reshape(count, size)
            for column, length in enumerate(row):
                taken = keys[first[length] : first[length] + count]
                block[:, column] = taken & np.uint64(0xFFFFFFFF)
                first[length] += count
            filled += count * size
            num_by_size[size - 1] += count
    assert filled == len(lengths)
    return Rows(members, num_by_size)


def _pack_histogram(
    counts: np.ndarray, row_length: int, max_per_row: int
) -> list[tuple[tuple[int, ...], int]]:
    """Best fit of all sequences, the longest first.

    Args:
        counts: int64[row_length + 1], number of sequences of each length.

    Returns:
        (lengths in the row, number of such rows), each row of `row_length` at the most.
    """
    # By room that is left: rows that are alike, and their number. Full rows have room 0.
    open_rows: list[list[tuple[tuple[int, ...], int]]] = [[] for _ in range(row_length)]
    closed: list[tuple[tuple[int, ...], int]] = []

    def put(row: tuple[int, ...], count: int) -> None:
        room = row_length - sum(row)
        if room == 0 or len(row) == max_per_row:
            closed.append((row, count))
        else:
            open_rows[room].append((row, count))

    for length in range(row_length, 0, -1):
        left = int(counts[length])
        room = length
        while left and room < row_length:
            if not open_rows[room]:
                room += 1
                continue
            row, count = open_rows[room].pop()
            # Several of this length may fit into one row.
            most = min(room // length, max_per_row - len(row))
            fill = max(1, min(most, left // count))
            rows = min(count, left)
            put((*row, *[length] * fill), rows)
            if count > rows:
                open_rows[room].append((row, count - rows))
            left -= rows * fill
        most = min(row_length // length, max_per_row)
        whole, rest = divmod(left, most)
        if whole:
            put((length,) * most, whole)
        if rest:
            put((length,) * rest, 1)
    return closed + [group for groups in open_rows for group in groups]
