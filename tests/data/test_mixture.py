"""Mixing: the shares that were asked for, in every window, by division and lookup."""

from __future__ import annotations

import numpy as np
import pytest

from bert_jax.data.mixture import PERIOD, Mixture


@pytest.mark.parametrize(
    "weights", [(1.0,), (0.5, 0.5), (0.9, 0.1), (3, 1, 1e-9), (0.2, 0.3, 0.5, 7)]
)
def test_shares_hold_within_one_percent_over_any_thousand_rows(weights):
    mixture = Mixture(weights)
    sources, _ = mixture.place(np.arange(3 * PERIOD))
    shares = np.asarray(weights) / sum(weights)
    for source, share in enumerate(shares):
        before = np.concatenate([[0], np.cumsum(sources == source)])
        windows = before[1000:] - before[:-1000]
        assert np.abs(windows / 1000 - share).max() <= 0.01
    assert set(sources.tolist()) == set(range(len(weights)))


def test_each_source_is_read_in_order_without_gaps():
    mixture = Mixture((0.6, 0.3, 0.1))
    sources, numbers = mixture.place(np.arange(2 * PERIOD + 77))
    for source in range(3):
        own = numbers[sources == source]
        assert np.array_equal(own, np.arange(len(own)))


def test_any_row_is_placed_without_those_before_it():
    mixture = Mixture((0.7, 0.3))
    sources, numbers = mixture.place(np.arange(5 * PERIOD))
    for row in (0, 1, PERIOD - 1, PERIOD, 4 * PERIOD + 123):
        source, number = mixture.place(np.array([row]))
        assert source[0] == sources[row] and number[0] == numbers[row]


def test_counts_of_a_period_add_up():
    for weights in ((1e-12, 1.0), (1,) * 7, (0.1234, 0.8766)):
        counts = Mixture(weights).counts
        assert counts.sum() == PERIOD and counts.min() >= 1
