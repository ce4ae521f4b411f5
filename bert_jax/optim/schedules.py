"""Learning rates as functions of the step."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax


def warmup_linear_decay(
    peak_learning_rate: float, *, warmup_steps: int, num_steps: int
) -> optax.Schedule:
    """Linear warm-up from 0, then the line that reaches 0 at `num_steps`.

    The line starts at step 0, as in the 2018 code: after the warm-up the rate is
    `peak × (1 − step / num_steps)`, so the peak itself is never quite reached.

    Args:
        peak_learning_rate: rate that the warm-up aims at.
        warmup_steps: steps of warm-up; 0 for none.
        num_steps: steps of the run.

    Source: google-research/bert, optimization.py:create_optimizer.
    """

    def learning_rate(step: jax.Array | int) -> jax.Array:
        step = jnp.asarray(step, jnp.float32)
        decayed = jnp.maximum(0.0, 1.0 - step / num_steps)
        return peak_learning_rate * jnp.where(
            step < warmup_steps, step / max(warmup_steps, 1), decayed
        )

    return learning_rate
