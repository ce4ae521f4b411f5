"""Adam as the 2018 code has it, without bias correction."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax


class BertAdamState(NamedTuple):
    """First and second moments, each like the parameters."""

    mu: Any
    nu: Any


def scale_by_bert_adam(
    beta1: float, beta2: float, epsilon: float
) -> optax.GradientTransformation:
    """Adam without bias correction: m / (√v + ε).

    Optax has no Adam that leaves the correction out, hence this one.

    Source: google-research/bert, optimization.py:AdamWeightDecayOptimizer.
    """

    def init(params: optax.Params) -> BertAdamState:
        return BertAdamState(
            mu=jax.tree.map(jnp.zeros_like, params), nu=jax.tree.map(jnp.zeros_like, params)
        )

    def update(
        updates: optax.Updates, state: BertAdamState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, BertAdamState]:
        del params
        mu = jax.tree.map(lambda g, m: beta1 * m + (1 - beta1) * g, updates, state.mu)
        nu = jax.tree.map(lambda g, v: beta2 * v + (1 - beta2) * g * g, updates, state.nu)
        scaled = jax.tree.map(lambda m, v: m / (jnp.sqrt(v) + epsilon), mu, nu)
        return scaled, BertAdamState(mu=mu, nu=nu)

    return optax.GradientTransformation(init, update)
