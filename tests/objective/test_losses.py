"""Losses and accuracies by hand, and their weights."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from bert_jax.objective.losses import accuracy, cross_entropy, mean

LOGITS = jnp.log(jnp.array([[1.0, 2.0, 1.0], [8.0, 1.0, 1.0], [1.0, 1.0, 2.0]]))
LABELS = jnp.array([1, 0, 0])


def test_cross_entropy_by_hand():
    total, weight = cross_entropy(LOGITS, LABELS, jnp.array([1.0, 1.0, 0.5]))
    expected = -np.log(2 / 4) - np.log(8 / 10) - 0.5 * np.log(1 / 4)
    np.testing.assert_allclose(total, expected, rtol=1e-6)
    assert weight == 2.5
    np.testing.assert_allclose(mean((total, weight)), expected / 2.5, rtol=1e-6)


def test_cross_entropy_of_large_logits_is_exact():
    logits = jnp.array([[1e4, 0.0], [-1e4, 0.0]])
    total, _ = cross_entropy(logits, jnp.array([0, 0]), jnp.ones(2))
    assert total == 1e4
    total, _ = cross_entropy(LOGITS + 500.0, LABELS, jnp.ones(3))
    np.testing.assert_allclose(
        total, cross_entropy(LOGITS, LABELS, jnp.ones(3))[0], rtol=1e-4
    )


def test_gradient_is_softmax_minus_label():
    gradient = jax.grad(lambda x: cross_entropy(x, LABELS, jnp.ones(3))[0])(LOGITS)
    expected = jax.nn.softmax(LOGITS) - jax.nn.one_hot(LABELS, 3)
    np.testing.assert_allclose(gradient, expected, atol=1e-6)


def test_what_weighs_nothing_counts_nothing():
    weights = jnp.array([1.0, 0.0, 0.0])
    one = cross_entropy(LOGITS[:1], LABELS[:1], jnp.ones(1))
    assert cross_entropy(LOGITS, LABELS, weights) == one
    assert accuracy(LOGITS, LABELS, weights) == (1.0, 1.0)
    gradient = jax.grad(lambda x: cross_entropy(x, LABELS, weights)[0])(LOGITS)
    assert np.all(gradient[1:] == 0)


def test_accuracy_by_hand():
    assert accuracy(LOGITS, LABELS, jnp.array([1.0, 1.0, 0.5])) == (2.0, 2.5)


def test_mean_of_nothing_is_zero_and_so_is_its_gradient():
    def loss(x: jax.Array) -> jax.Array:
        return mean(cross_entropy(x, LABELS, jnp.zeros(3)))

    value, gradient = jax.value_and_grad(loss)(LOGITS)
    assert value == 0 and np.all(gradient == 0)


def test_dims_are_summed_over_all():
    logits = jnp.stack([LOGITS, LOGITS])
    labels = jnp.stack([LABELS, LABELS])
    total, weight = cross_entropy(logits, labels, jnp.ones((2, 3)))
    single, _ = cross_entropy(LOGITS, LABELS, jnp.ones(3))
    np.testing.assert_allclose(total, 2 * single, rtol=1e-6)
    assert weight == 6
