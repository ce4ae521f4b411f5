"""Packing: every sequence once, no row too long, the same again, and little room left."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from bert_jax.data.draws import Draws
from bert_jax.data.packing import Rows, pack_lengths


def pack(lengths: np.ndarray, row_length: int, max_per_row: int, seed: int = 0) -> Rows:
    return pack_lengths(
        lengths.astype(np.uint16),
        row_length=row_length,
        max_per_row=max_per_row,
        draws=Draws("test", seed),
    )


def rows_of(rows: Rows) -> list[np.ndarray]:
    """The sequences of each row."""
    members, sizes = rows.sequences(np.arange(rows.num_rows))
    return np.split(members, np.cumsum(sizes)[:-1])


@pytest.mark.parametrize("seed", range(20))
def test_every_sequence_stands_in_one_row_and_no_row_is_too_long(seed):
    rng = np.random.default_rng(seed)
    row_length, max_per_row = int(rng.integers(8, 80)), int(rng.integers(1, 9))
    lengths = rng.integers(1, row_length + 1, int(rng.integers(1, 400)))
    found = rows_of(pack(lengths, row_length, max_per_row))
    assert np.array_equal(np.sort(np.concatenate(found)), np.arange(len(lengths)))
    assert max(map(len, found)) <= max_per_row
    assert max(int(lengths[row].sum()) for row in found) <= row_length


def best_fit(lengths: np.ndarray, row_length: int, max_per_row: int) -> int:
    """Rows that a plain best fit of one sequence after the other takes."""
    rooms: list[list[int]] = []
    for length in sorted(lengths.tolist(), reverse=True):
        fitting = [r for r in rooms if r[0] >= length and r[1] < max_per_row]
        if fitting:
            best = min(fitting)
            best[0] -= length
            best[1] += 1
        else:
            rooms.append([row_length - length, 1])
    return len(rooms)


@pytest.mark.parametrize("seed", range(8))
def test_packing_is_about_as_tight_as_best_fit_one_by_one(seed):
    rng = np.random.default_rng(seed)
    lengths = np.clip(rng.exponential(40, 500), 2, 128).astype(int)
    ours = pack(lengths, 128, 6).num_rows
    assert ours <= 1.02 * best_fit(lengths, 128, 6) + 1
    assert ours >= lengths.sum() / 128


def test_the_same_draws_give_the_same_rows_and_others_other_company():
    lengths = np.random.default_rng(0).integers(2, 60, 1000)
    one, again, other = (pack(lengths, 64, 4, seed) for seed in (0, 0, 1))
    assert np.array_equal(one.members, again.members)
    assert np.array_equal(one.num_by_size, other.num_by_size)

    def neighbours(rows: Rows) -> set[frozenset[int]]:
        return {
            frozenset(pair)
            for row in rows_of(rows)
            for pair in itertools.combinations(row.tolist(), 2)
        }

    shared = neighbours(one) & neighbours(other)
    assert len(shared) < 0.05 * len(neighbours(one))


def test_rows_are_found_again_on_disk(tmp_path):
    rows = pack(np.random.default_rng(0).integers(2, 60, 300), 64, 4)
    rows.save(tmp_path)
    again = Rows.load(tmp_path)
    asked = np.array([7, 0, rows.num_rows - 1, 7])
    for one, other in zip(rows.sequences(asked), again.sequences(asked), strict=True):
        assert np.array_equal(one, other)


def test_sequences_as_long_as_a_row_stand_alone_and_equal_short_ones_fill_it():
    rows = rows_of(pack(np.array([64] * 5 + [8] * 16), 64, 8))
    assert sorted(map(len, rows)) == [1] * 5 + [8, 8]


@pytest.mark.slow
def test_a_hundred_million_sequences_within_a_minute_and_two_gigabytes(run_python):
    code = """
import resource, time
import numpy as np
from bert_jax.data.draws import Draws
from bert_jax.data.packing import pack_lengths
lengths = np.random.default_rng(0).integers(1, 513, 100_000_000, np.uint16)
start = time.perf_counter()
rows = pack_lengths(lengths, row_length=512, max_per_row=8, draws=Draws("rows"))
seconds = time.perf_counter() - start
share = lengths.sum(dtype=np.int64) / (512 * rows.num_rows)
print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, share)
"""
    result = run_python("-c", code, timeout=300)
    seconds, memory, share = map(float, result.stdout.split())
    assert seconds < 60 and memory < 2e9 and share > 0.97, result.stdout
