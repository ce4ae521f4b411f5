"""Sums within the sequences of a row, against plain loops."""

from __future__ import annotations

import numpy as np

from bert_jax.objective.packed_rows import sequence_sums, spread, sum_before

SEQUENCE_IDS = np.array([[1, 1, 1, 2, 2, 3, 0, 0], [1, 1, 1, 1, 1, 1, 1, 1]], np.int32)


def test_values_of_sequences_reach_their_tokens():
    values_BS = np.array([[7, 2**32 - 1, 9], [4, 5, 6]], np.uint32)
    spread_BL = np.asarray(spread(values_BS, SEQUENCE_IDS))
    assert spread_BL.dtype == np.uint32
    last = 2**32 - 1
    assert spread_BL.tolist() == [[7, 7, 7, last, last, 9, 0, 0], [4] * 8]


def test_sums_are_those_of_each_sequence():
    values_BL = np.arange(16, dtype=np.int32).reshape(2, 8)
    assert sequence_sums(values_BL, SEQUENCE_IDS, 3).tolist() == [[3, 7, 5], [92, 0, 0]]
    lengths = sequence_sums(values_BL >= 0, SEQUENCE_IDS, 3)
    assert lengths.tolist() == [[3, 2, 1], [8, 0, 0]]


def test_tokens_before_are_those_of_larger_keys_then_of_lower_ties():
    rng = np.random.default_rng(0)
    shape = (5, 30)
    values_BL = rng.integers(0, 9, shape).astype(np.int32)
    keys_BL = rng.integers(-2, 2, shape).astype(np.int32)
    ties_BL = rng.integers(0, 4, shape).astype(np.int32)
    ids_BL = np.sort(rng.integers(1, 4, shape), axis=1).astype(np.int32)
    found = np.asarray(sum_before(values_BL, keys_BL, ties_BL, ids_BL))
    for row, i in np.ndindex(shape):
        order_L = [(-k, t) for k, t in zip(keys_BL[row], ties_BL[row], strict=True)]
        before = [
            values_BL[row, j]
            for j in range(30)
            if ids_BL[row, j] == ids_BL[row, i] and order_L[j] < order_L[i]
        ]
        assert found[row, i] == sum(before)
