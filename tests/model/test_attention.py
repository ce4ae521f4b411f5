"""Attention by itself: against plain NumPy, with masks, with dropout."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bert_jax.model.attention import Visibility, attention_probabilities, plain_attention
from bert_jax.random_bits import fold

B, L, H, K = 2, 5, 3, 4


@pytest.fixture(scope="module")
def qkv():
    return tuple(jax.random.normal(jax.random.key(i), (B, L, H, K)) for i in range(3))


ALL = Visibility(jnp.ones((B, L), bool))


def attend(query, key, value, visible, rate=0.0, seeds_B=None):
    return plain_attention(
        query, key, value, visible, dropout_rate=rate, dropout_seeds_B=seeds_B
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


def test_tokens_see_tokens(qkv):
    tokens_BL = np.array([[1, 0, 1, 1, 0], [0, 1, 1, 1, 1]], bool)
    expected = numpy_attention(*qkv, tokens_BL[:, None])
    found = attend(*qkv, Visibility(jnp.asarray(tokens_BL)))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_tokens_see_their_own_sequence_alone(qkv):
    sequences_BL = np.array([[1, 1, 2, 2, 0], [1, 2, 2, 3, 3]])
    own_BQT = sequences_BL[:, :, None] == sequences_BL[:, None]
    found = attend(
        *qkv, Visibility(jnp.asarray(sequences_BL > 0), jnp.asarray(sequences_BL))
    )
    is_token_BL = sequences_BL > 0
    expected = numpy_attention(*qkv, own_BQT)
    np.testing.assert_allclose(found[is_token_BL], expected[is_token_BL], atol=1e-5)
    assert np.isfinite(found).all()


def test_a_query_that_may_see_nothing_gives_finite_numbers(qkv):
    visible = Visibility(jnp.zeros((B, L), bool).at[1].set(True))
    probabilities = attention_probabilities(*qkv[:2], visible)
    np.testing.assert_allclose(probabilities[0], 1 / L, rtol=1e-6)
    gradient = jax.grad(lambda q: attend(q, *qkv[1:], visible).sum())(qkv[0])
    assert np.isfinite(gradient).all()


def test_large_scores_stay_finite(qkv):
    query, key, value = qkv
    context = attend(1e4 * query, 1e4 * key, value, ALL)
    assert np.isfinite(context).all()


def test_probabilities_are_dropped_and_scaled(qkv):
    """With the unit matrix as values, the context is the probabilities themselves."""
    query, key, _ = qkv
    value = jnp.broadcast_to(jnp.eye(L)[None, :, None], (B, L, H, L))
    seeds_B = fold(0, jnp.arange(B))
    whole = np.asarray(attend(query, key, value, ALL))
    some = np.asarray(attend(query, key, value, ALL, 0.5, seeds_B))
    assert 0.3 < (some == 0).mean() < 0.7
    np.testing.assert_allclose(some[some != 0], 2 * whole[some != 0], rtol=1e-5)
    assert not np.array_equal(some[0] == 0, some[1] == 0)
    assert not np.array_equal(some[:, :, 0] == 0, some[:, :, 1] == 0)  # heads differ
