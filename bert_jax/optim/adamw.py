"""AdamW chains: the optimizer of 2018 and the bias-corrected one."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from bert_jax.config_sections import OptimConfig
from bert_jax.optim.decay import decay_mask
from bert_jax.optim.schedules import warmup_linear_decay


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


def make_schedule(config: OptimConfig, num_steps: int) -> optax.Schedule:
    """The learning rate of a run of `num_steps` steps."""
    return warmup_linear_decay(
        config.learning_rate, warmup_steps=config.warmup_steps, num_steps=num_steps
    )


def make_optimizer(config: OptimConfig, num_steps: int) -> optax.GradientTransformation:
    """Clip by global norm, Adam, decoupled weight decay, learning rate: in this order.

    Args:
        config: which Adam and its numbers.
        num_steps: steps of the run, which end the schedule.

    Source: google-research/bert, optimization.py (the clip is in create_optimizer).
    """
    if config.name == "bert_adamw":
        adam = scale_by_bert_adam(config.beta1, config.beta2, config.epsilon)
    else:
        adam = optax.scale_by_adam(b1=config.beta1, b2=config.beta2, eps=config.epsilon)
    return optax.chain(
        optax.clip_by_global_norm(config.clip_norm),
        adam,
        optax.add_decayed_weights(config.weight_decay, mask=decay_mask),
        optax.scale_by_learning_rate(make_schedule(config, num_steps)),
    )
