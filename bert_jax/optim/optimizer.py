"""The optimizer that a configuration asks for."""

from __future__ import annotations

import optax

from bert_jax.config_sections import OptimConfig
from bert_jax.optim.bert_adam import scale_by_bert_adam
from bert_jax.optim.decay import decay_mask
from bert_jax.optim.muon import scale_by_muon_and_adam
from bert_jax.optim.schedules import warmup_linear_decay


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
        scale = scale_by_bert_adam(config.beta1, config.beta2, config.epsilon)
    else:
        scale = optax.scale_by_adam(b1=config.beta1, b2=config.beta2, eps=config.epsilon)
    if config.name == "muon":
        scale = scale_by_muon_and_adam(scale)
    return optax.chain(
        optax.clip_by_global_norm(config.clip_norm),
        scale,
        optax.add_decayed_weights(config.weight_decay, mask=decay_mask),
        optax.scale_by_learning_rate(make_schedule(config, num_steps)),
    )
