"""Gradients of a batch, at once or accumulated over micro-batches: the same numbers.

A loss is Σ sums / Σ weights, and different losses have different weights (masked words,
pairs of sentences). A mean of the means of parts would weigh parts alike that hold unequal
numbers of words, so the weights of the whole batch come first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from bert_jax.objective.losses import Terms, mean
from bert_jax.parallel.accumulation import GROUP_AXIS, Accumulation

# (params, batch, key) → losses, other metrics, both as (sum, weight).
TermsFn = Callable[[Any, Any, jax.Array], tuple[Terms, Terms]]
# (params, batch, key) → gradients, and the terms of the whole batch.
Gradients = Callable[[Any, Any, jax.Array], tuple[Any, tuple[Terms, Terms]]]


def sum_of_means(losses: Terms) -> jax.Array:
    """What is minimised: each loss divided by its own weight, then added up."""
    return sum((mean(term) for term in losses.values()), start=jnp.zeros(()))


def make_gradients(terms_fn: TermsFn) -> Gradients:
    """Gradients of the sum of the mean losses, of the whole batch at once."""

    def gradients(
        params: Any, batch: Any, key: jax.Array
    ) -> tuple[Any, tuple[Terms, Terms]]:
        def total_loss(params: Any) -> tuple[jax.Array, tuple[Terms, Terms]]:
            losses, others = terms_fn(params, batch, key)
            return sum_of_means(losses), (losses, others)

        return jax.grad(total_loss, has_aux=True)(params)

    return gradients


def make_accumulated_gradients(terms_fn: TermsFn, accumulation: Accumulation) -> Gradients:
    """The same gradients and terms, one micro-batch after the other.

    A first scan adds up weights alone: they depend on the batch and on no parameter, so
    XLA drops the network from it. A second scan adds up the gradients of Σ sum / weight of
    the whole batch.

    Args:
        terms_fn: (params, batch, key) → losses, other metrics.
        accumulation: how the batch is taken apart and gradients are put together.
    """

    def gradients(
        params: Any, batch: Any, key: jax.Array
    ) -> tuple[Any, tuple[Terms, Terms]]:
        micro_batches = accumulation.split(batch)
        weights = _add_up(
            _over_groups(lambda rows: _weights(terms_fn(params, rows, key)[0])),
            micro_batches,
        )
        weights = {name: jnp.sum(weight_G) for name, weight_G in weights.items()}

        def share(params: Any, rows: Any) -> tuple[jax.Array, tuple[Terms, Terms]]:
            losses, others = terms_fn(params, rows, key)
            means = {name: (term[0], weights[name]) for name, term in losses.items()}
            return sum_of_means(means), (losses, others)

        def group(rows: Any) -> tuple[Any, tuple[Terms, Terms]]:
            return jax.grad(share, has_aux=True)(params, rows)

        def part(micro_batch: Any) -> tuple[Any, tuple[Terms, Terms]]:
            grads, terms = _over_groups(group)(micro_batch)
            return accumulation.constrain_groups(grads), terms

        grads, terms = _add_up(part, micro_batches)
        return accumulation.add_groups(grads), jax.tree.map(jnp.sum, terms)

    return gradients


def _weights(losses: Terms) -> dict[str, jax.Array]:
    return {name: weight for name, (_, weight) in losses.items()}


def _over_groups(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """`function` for each group at its own place of the mesh."""
    return jax.vmap(function, spmd_axis_name=GROUP_AXIS)


def _add_up(function: Callable[[Any], Any], micro_batches: Any) -> Any:
    """The sum of `function` over the micro-batches, in a scan."""
    first = jax.tree.map(lambda x: x[0], micro_batches)
    zeros = jax.tree.map(
        lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(function, first)
    )

    def add(total: Any, micro_batch: Any) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, total, function(micro_batch)), None

    return jax.lax.scan(add, zeros, micro_batches)[0]
