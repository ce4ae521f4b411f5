"""Losses and accuracies as (sum, weight): the mean is taken once, by who has them all.

Shapes: … any leading dims, N classes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

# A quantity on its way to a mean: its sum, and the weight to divide it by.
SumAndWeight = tuple[jax.Array, jax.Array]

# A loss: (model, batch, key) → losses that are minimised together, and other metrics,
# all as (sum, weight). `key` is None where nothing is to be dropped.
Terms = dict[str, SumAndWeight]
LossFn = Callable[[Any, Any, jax.Array | None], tuple[Terms, Terms]]


def cross_entropy(logits: jax.Array, labels: jax.Array, weights: jax.Array) -> SumAndWeight:
    """Weighted −log softmax(logits)[label].

    Args:
        logits: float32[…, N].
        labels: int32[…], in [0, N).
        weights: float32[…], 0 where there is nothing to predict.

    Returns:
        Two float32 scalars, in nats and in predictions.
    """
    chosen = jnp.take_along_axis(logits, labels[..., None], axis=-1)[..., 0]
    losses = jax.nn.logsumexp(logits, axis=-1) - chosen
    return jnp.sum(losses * weights), jnp.sum(weights)


def accuracy(logits: jax.Array, labels: jax.Array, weights: jax.Array) -> SumAndWeight:
    """Weighted count of rows whose label has the largest logit, alone or among equals.

    Arguments and result as for `cross_entropy`. Compares with the maximum, which the loss
    needs as well: XLA's argmax took a seventh of a tiny model's whole step on a CPU.
    """
    chosen = jnp.take_along_axis(logits, labels[..., None], axis=-1)[..., 0]
    correct = chosen == jnp.max(logits, axis=-1)
    return jnp.sum(correct * weights), jnp.sum(weights)


def mean(term: SumAndWeight) -> jax.Array:
    """sum / weight; 0 where nothing was weighed."""
    total, weight = term
    return total / jnp.maximum(weight, 1e-9)
