"""The largest step that fits, without compiling any."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from bert_jax.train.plan_search import (
    MOST_ROWS,
    Remedy,
    find_remedy,
    largest_that_fits,
    row_counts,
)


def straight(rows: int) -> int:
    return 1_000 + 37 * rows


def stepped(rows: int) -> int:
    """As compilers do: padded, and with a better plan for large ones."""
    return 1_000 + 37 * (-(-rows // 8) * 8) - (500 if rows > 100 else 0)


def squared(rows: int) -> int:
    return 1_000 + rows * rows


@pytest.mark.parametrize("size", [straight, stepped, squared])
@pytest.mark.parametrize("memory", [1_000, 1_040, 1_400, 5_000, 20_000, 1_000_000])
@pytest.mark.parametrize("asked", [1, 7, 33, 256])
def test_the_next_larger_one_does_not_fit(
    size: Callable[[int], int], memory: int, asked: int
) -> None:
    compiled = []

    def peak_bytes(rows: int) -> int:
        compiled.append(rows)
        return size(rows)

    found = largest_that_fits(peak_bytes, memory, rows=asked, size=size(asked))
    fitting = [rows for rows in row_counts() if size(rows) <= memory]
    assert found == max(fitting, default=0)
    assert len(set(compiled)) == len(compiled) <= 11


def test_a_straight_line_takes_few_compilations() -> None:
    compiled = []

    def peak_bytes(rows: int) -> int:
        compiled.append(rows)
        return straight(rows)

    assert largest_that_fits(peak_bytes, 20_000, rows=32, size=straight(32)) == 512
    assert len(compiled) <= 4


def test_everything_fits() -> None:
    assert largest_that_fits(lambda rows: 1, 10, rows=4, size=1) == MOST_ROWS


def test_counts_are_dense_enough() -> None:
    counts = row_counts()
    assert counts[:16] == list(range(1, 17))
    assert all(b / a <= 9 / 8 for a, b in itertools.pairwise(counts[8:]))


def in_turns(rows: int, remat: str) -> int:
    """Bytes of a step in turns: gradients that are summed, and activations."""
    return 1_000 + rows * {"none": 100, "dots": 40, "full": 10}[remat]


@pytest.mark.parametrize(
    ("memory", "remat", "expected"),
    [
        (1_700, "none", Remedy(6, 2, "none")),
        (1_450, "none", Remedy(4, 3, "none")),
        (1_100, "none", Remedy(1, 12, "none")),
        (1_099, "none", Remedy(2, 6, "dots")),
        (1_039, "none", Remedy(3, 4, "full")),
        (1_119, "full", Remedy(6, 2, "full")),
        (1_009, "none", None),
        (1_500, "dots", Remedy(6, 2, "dots")),  # at once is known not to fit
    ],
)
def test_turns_before_anything_is_computed_again(
    memory: int, remat: str, expected: Remedy | None
) -> None:
    assert find_remedy(in_turns, memory, rows=12, remat=remat) == expected
