"""Dropout: its rate, its scale, and that a row's mask is the row's own."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bert_jax.model.dropout import dropout
from bert_jax.random_bits import fold


def seeds(count: int, seed: int = 0) -> jax.Array:
    return fold(seed, jnp.arange(count))


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_rate_and_scale(rate):
    x = jnp.full((64, 40, 50), 3.0)
    y = np.asarray(dropout(x, rate, seeds(64), 2))
    sigma = np.sqrt(rate * (1 - rate) / y.size)
    assert abs((y == 0).mean() - rate) < 5 * sigma
    np.testing.assert_allclose(y[y != 0], 3.0 / (1 - rate), rtol=1e-6)
    assert abs(y.mean() - 3.0) < 5 * 3.0 * sigma / (1 - rate)  # the expectation is kept
    # Each row and each element drops at the same rate: 5 sigma of their own counts.
    assert np.abs((y == 0).mean(axis=(1, 2)) - rate).max() < 5 * sigma * 8
    assert np.abs((y == 0).mean(axis=0) - rate).max() < 6 * sigma * np.sqrt(2000)


def test_no_rate_or_no_seeds_is_identity():
    x = jax.random.normal(jax.random.key(0), (4, 6))
    assert dropout(x, 0.0, seeds(4), 0) is x
    assert dropout(x, 0.5, None, 0) is x


def test_a_row_is_dropped_the_same_in_any_batch():
    x = jnp.ones((8, 30, 4))
    together = dropout(x, 0.3, seeds(8), 1)
    order = jnp.array([6, 0, 3])
    assert np.array_equal(dropout(x[order], 0.3, seeds(8)[order], 1), together[order])
    compiled = jax.jit(lambda x, s: dropout(x, 0.3, s, 1))(x, seeds(8))
    assert np.array_equal(compiled, together)
    # The control: the same rows with the seeds of others.
    assert not np.array_equal(dropout(x[order], 0.3, seeds(3), 1), together[order])
    assert not np.array_equal(dropout(x, 0.3, seeds(8, seed=1), 1), together)


def test_sites_layers_and_rows_drop_independently():
    x = jnp.ones((2, 20_000))
    s = seeds(2)
    dropped = np.concatenate(
        [
            np.asarray(dropout(x, 0.3, s, 0)) == 0,
            np.asarray(dropout(x, 0.3, s, 1)) == 0,
            np.asarray(dropout(x, 0.3, fold(s, 1), 0)) == 0,
            np.asarray(dropout(x, 0.3, fold(s, 2), 0)) == 0,
        ]
    ).astype(float)
    both = dropped @ dropped.T / dropped.shape[1]
    np.fill_diagonal(both, 0.09)
    assert np.abs(both - 0.09).max() < 5 * np.sqrt(0.09 * 0.91 / 20_000)


def test_the_numbers_stay_in_their_type():
    x = jnp.ones((2, 8), jnp.bfloat16)
    assert dropout(x, 0.1, seeds(2), 0).dtype == jnp.bfloat16


def test_gradient_passes_where_kept():
    x = jnp.ones((2, 50))
    kept = dropout(x, 0.4, seeds(2), 0)
    gradient = jax.grad(lambda x: dropout(x, 0.4, seeds(2), 0).sum())(x)
    assert np.array_equal(gradient, kept)
