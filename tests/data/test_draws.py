"""Draws: pinned bits, and the distributions made of them."""

from __future__ import annotations

import numpy as np

from bert_jax.data.draws import Draws

PINNED_BITS = [73489185128321812, 14846211452763697406]
PINNED_BELOW = [3, 170, 1013112945]
PINNED_ORDER = [3, 4, 1, 2, 0, 5]


def test_stream_is_pinned():
    # Written down once: if they change, every run reads other batches than before.
    draws = Draws("pinned", 3)
    assert draws.bits(2).tolist() == PINNED_BITS
    assert draws.below(np.array([10, 1000, 2**31])).tolist() == PINNED_BELOW
    assert draws.order(6).tolist() == PINNED_ORDER


def test_keys_give_different_streams():
    assert not np.array_equal(Draws("a", 1).bits(4), Draws("a", 2).bits(4))
    assert not np.array_equal(Draws("a", 1, 2).bits(4), Draws("a", 12).bits(4))
    assert np.array_equal(Draws("a", 1).bits(4), Draws("a", 1).bits(4))


def test_below_is_uniform_and_within_its_limits():
    values = Draws("below").below(np.full(70_000, 7))
    counts = np.bincount(values, minlength=7)
    assert len(counts) == 7
    assert np.abs(counts - 10_000).max() < 5 * np.sqrt(10_000)


def test_chance_has_its_rate():
    assert Draws("chance").chance(0.0, 1000).sum() == 0
    assert Draws("chance").chance(1.0, 1000).sum() == 1000
    assert abs(Draws("chance").chance(0.1, 100_000).mean() - 0.1) < 5 * 0.3 / 316


def test_heads_have_mean_and_variance_of_a_binomial():
    for tosses in (1, 5, 64, 65, 200):
        heads = Draws("heads", tosses).heads(np.full(20_000, tosses))
        assert heads.min() >= 0 and heads.max() <= tosses
        assert abs(heads.mean() - tosses / 2) < 5 * np.sqrt(tosses / 4 / 20_000)
        assert abs(heads.var() / (tosses / 4) - 1) < 0.06


def test_order_is_a_permutation_without_trend():
    order = Draws("order").order(10_000)
    assert np.array_equal(np.sort(order), np.arange(10_000))
    assert abs(np.corrcoef(order, np.arange(10_000))[0, 1]) < 0.05
