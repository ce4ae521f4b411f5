"""The largest number of rows that fits, by compiling few steps; and what to do with it."""

from __future__ import annotations

import bisect
import dataclasses
from collections.abc import Callable

MOST_ROWS = 2**16
REMATS = ("none", "dots", "full")  # each keeps less than the one before
_MOST_GUESSES = 3


def row_counts() -> list[int]:
    """Numbers of rows that are tried, of four significant bits: 1 to 16, 18, 20 … 32."""
    shifts = range(MOST_ROWS.bit_length())
    counts = {leading << shift for leading in range(1, 16) for shift in shifts}
    return sorted(count for count in counts if count <= MOST_ROWS)


def largest_that_fits(
    peak_bytes: Callable[[int], int], memory_bytes: int, *, rows: int, size: int
) -> int:
    """The largest of `row_counts` whose step fits; the next larger one does not.

    The first places looked at are where a straight line through what was seen says; then
    the open interval is halved.

    Args:
        peak_bytes: compiles a step of so many rows for each device and gives its bytes.
        memory_bytes: what a device has.
        rows: a number of rows whose step was compiled already.
        size: the bytes of that step.

    Returns:
        Rows for each device, found by compiling them; 0 where one row is too many.
    """
    counts = row_counts()
    seen = {rows: size}
    if size <= memory_bytes:
        low, high = bisect.bisect_right(counts, rows) - 1, len(counts)
    else:
        low, high = -1, bisect.bisect_left(counts, rows)
    # counts[low] fits, or less than what fits; −1: not one row. counts[high] does not.
    while high - low > 1:
        index = (low + high) // 2
        if len(seen) <= _MOST_GUESSES:
            guess = bisect.bisect_right(counts, _rows_by_line(seen, memory_bytes)) - 1
            # Where the line has been right, what is left to show is its neighbour.
            index = min(max(guess, low + 1), high - 1)
        seen[counts[index]] = peak_bytes(counts[index])
        if seen[counts[index]] <= memory_bytes:
            low = index
        else:
            high = index
    return counts[low] if low >= 0 else 0


def _rows_by_line(seen: dict[int, int], memory_bytes: int) -> float:
    """Where a straight line through the two largest steps seen meets the memory."""
    (rows, size), (more_rows, more_size) = ([(0, 0), *sorted(seen.items())])[-2:]
    if more_size <= size:
        return MOST_ROWS
    slope = (more_size - size) / (more_rows - rows)
    return more_rows + (memory_bytes - more_size) / slope


@dataclasses.dataclass(frozen=True)
class Remedy:
    """What makes a step fit that does not, with the same update.

    Attributes:
        micro_batch_size: rows that a device computes at once (`train.micro_batch_size`).
        accumulation_steps: turns in which it computes all of its rows.
        remat: `train.remat`; what is computed again costs up to a third more FLOPs.
    """

    micro_batch_size: int
    accumulation_steps: int
    remat: str


def find_remedy(
    peak_bytes: Callable[[int, str], int], memory_bytes: int, *, rows: int, remat: str
) -> Remedy | None:
    """The fewest turns that fit; more is computed again only where no number of them does.

    Args:
        peak_bytes: compiles a step for a micro-batch and a `train.remat`, and gives its
            bytes.
        memory_bytes: what a device has.
        rows: of the batch, on each device; at once they do not fit.
        remat: as the configuration has it.

    Returns:
        None if not even one row at a time fits.
    """
    divisors = [n for n in range(1, rows + 1) if rows % n == 0]
    for name in REMATS[REMATS.index(remat) :]:
        tried = divisors[:-1] if name == remat else divisors

        def is_too_large(micro_batch_size: int, name: str = name) -> bool:
            return peak_bytes(micro_batch_size, name) > memory_bytes

        fitting = bisect.bisect_left(tried, True, key=is_too_large)
        if fitting:
            micro = tried[fitting - 1]
            return Remedy(micro, rows // micro, name)
    return None
