"""Attention by itself: against plain NumPy, with masks, with dropout."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bert_jax.model.attention import attention_probabilities, plain_attention
from bert_jax.random_bits import fold

B, L, H, K = 2, 5, 3, 4


@pytest.fixture(scope="module")
def qkv():
    return tuple(jax.random.normal(jax.random.key(i), (B, L, H, K)) for i in range(3))


def attend(query, key, value, mask_BQT, rate=0.0, seeds_B=None):
    return plain_attention(
        query, key, value, mask_BQT, dropout_rate=rate, dropout_seeds_B=seeds_B
    )


def numpy_attention(query, key, value, mask_BQT):
    """One query at a time, over the keys that it may see."""
    context = np.zeros((B, L, H, K))
    mask_BQT = np.broadcast_to(mask_BQT, (B, L, L))
    for b, q, h in np.ndindex(B, L, H):
        seen = np.flatnonzero(mask_BQT[b, q])
        scores = np.array([np.dot(query[b, q, h], key[b, t, h]) for t in seen]) / K**0.5
        weights = np.exp(scores) / np.exp(scores).sum()
        context[b, q, h] = weights @ np.asarray(value)[b, seen, h]
    return context


@pytest.mark.parametrize("queries", [1, L], ids=["one mask for all", "one for each query"])
def test_equals_numpy(queries, qkv):
    mask_BQT = np.random.default_rng(0).random((B, queries, L)) < 0.6
    mask_BQT[..., 0] = True
    np.testing.assert_allclose(
        attend(*qkv, jnp.asarray(mask_BQT)), numpy_attention(*qkv, mask_BQT), atol=1e-5
    )


def test_a_query_that_may_see_nothing_gives_finite_numbers(qkv):
    mask_BQT = jnp.zeros((B, 1, L), bool).at[1].set(True)
    probabilities = attention_probabilities(*qkv[:2], mask_BQT)
    np.testing.assert_allclose(probabilities[0], 1 / L, rtol=1e-6)
    gradient = jax.grad(lambda q: attend(q, *qkv[1:], mask_BQT).sum())(qkv[0])
    assert np.isfinite(gradient).all()


def test_large_scores_stay_finite(qkv):
    query, key, value = qkv
    mask_BQT = jnp.ones((B, 1, L), bool)
    context = attend(1e4 * query, 1e4 * key, value, mask_BQT)
    assert np.isfinite(context).all()


def test_probabilities_are_dropped_and_scaled(qkv):
    """With the unit matrix as values, the context is the probabilities themselves."""
    query, key, _ = qkv
    value = jnp.broadcast_to(jnp.eye(L)[None, :, None], (B, L, H, L))
    mask_BQT = jnp.ones((B, 1, L), bool)
    seeds_B = fold(0, jnp.arange(B))
    whole = np.asarray(attend(query, key, value, mask_BQT))
    some = np.asarray(attend(query, key, value, mask_BQT, 0.5, seeds_B))
    assert 0.3 < (some == 0).mean() < 0.7
    np.testing.assert_allclose(some[some != 0], 2 * whole[some != 0], rtol=1e-5)
    assert not np.array_equal(some[0] == 0, some[1] == 0)
    assert not np.array_equal(some[:, :, 0] == 0, some[:, :, 1] == 0)  # heads differ
