"""Both chains against plain transcriptions of the published rules."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optim.reference_optimizers import (
    AdamW,
    AdamWeightDecayOptimizer,
    clip_by_global_norm,
    learning_rate_2018,
)

from bert_jax.config_sections import OptimConfig
from bert_jax.optim.bert_adam import scale_by_bert_adam
from bert_jax.optim.optimizer import make_optimizer

CONFIG = OptimConfig(
    name="bert_adamw", learning_rate=0.02, warmup_steps=3, weight_decay=0.1, clip_norm=1.5
)
NUM_STEPS = 8
SHAPES = {"kernel": (4, 3), "bias": (2, 3), "embedding": (5, 2), "scale": (3,)}
NO_DECAY = ("bias", "scale")


def random_arrays(seed: int, size: float) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        name: size * rng.standard_normal(shape).astype(np.float32)
        for name, shape in SHAPES.items()
    }


def gradients(step: int) -> dict[str, np.ndarray]:
    """Above the clip at odd steps, below it at even ones; one element is always 0."""
    grads = random_arrays(step, 1.0 if step % 2 else 0.05)
    grads["kernel"][0, 0] = 0.0
    return grads


def run(config: OptimConfig, num_updates: int) -> dict[str, np.ndarray]:
    optimizer = make_optimizer(config, NUM_STEPS)
    params = jax.tree.map(jnp.asarray, random_arrays(100, 1.0))

    @jax.jit
    def update(grads, state, params):
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    state = optimizer.init(params)
    for step in range(num_updates):
        params, state = update(gradients(step), state, params)
    return params


def run_reference(config: OptimConfig, num_updates: int) -> dict[str, np.ndarray]:
    numbers = (config.weight_decay, config.beta1, config.beta2, config.epsilon, NO_DECAY)
    reference = {"bert_adamw": AdamWeightDecayOptimizer, "adamw": AdamW}
    optimizer = reference[config.name](*numbers)
    params = random_arrays(100, 1.0)
    for step in range(num_updates):
        rate = learning_rate_2018(
            step, config.learning_rate, NUM_STEPS, config.warmup_steps
        )
        clipped = clip_by_global_norm(gradients(step), config.clip_norm)
        params = optimizer.apply_gradients(clipped, params, rate)
    return params


def largest_difference(found, expected) -> float:
    return max(np.abs(np.asarray(found[name]) - expected[name]).max() for name in SHAPES)


@pytest.mark.parametrize("name", ["bert_adamw", "adamw"])
@pytest.mark.parametrize("num_updates", [1, 2, NUM_STEPS])
def test_equals_the_published_rule(name, num_updates):
    config = dataclasses.replace(CONFIG, name=name)
    expected = run_reference(config, num_updates)
    assert largest_difference(run(config, num_updates), expected) < 2e-6
    start = random_arrays(100, 1.0)
    # The warm-up starts at 0: the first update moves nothing, the second does.
    assert (largest_difference(start, expected) > 1e-3) == (num_updates > 1)


@pytest.mark.parametrize("name", ["bert_adamw", "adamw"])
@pytest.mark.parametrize(
    "broken",
    [{"clip_norm": 1e9}, {"weight_decay": 0.0}, {"warmup_steps": 4}, {"beta2": 0.99}],
)
def test_every_number_decides(name, broken):
    config = dataclasses.replace(CONFIG, name=name)
    found = run(dataclasses.replace(config, **broken), NUM_STEPS)
    assert largest_difference(found, run_reference(config, NUM_STEPS)) > 2e-5


def test_only_the_one_of_2018_leaves_the_bias_correction_out():
    corrected, plain = (
        run(dataclasses.replace(CONFIG, name=name), NUM_STEPS)
        for name in ("adamw", "bert_adamw")
    )
    assert largest_difference(corrected, plain) > 1e-3
    first = scale_by_bert_adam(0.9, 0.999, 1e-6)
    grads = {"kernel": jnp.array([2.0, -2.0])}
    scaled, _ = first.update(grads, first.init(grads))
    np.testing.assert_allclose(
        scaled["kernel"], np.array([1, -1]) * 0.1 / np.sqrt(0.001), rtol=1e-4
    )


def test_biases_and_scales_keep_their_size_without_gradients():
    config = dataclasses.replace(CONFIG, warmup_steps=0)
    optimizer = make_optimizer(config, NUM_STEPS)
    params = jax.tree.map(jnp.asarray, random_arrays(0, 1.0))
    zeros = jax.tree.map(jnp.zeros_like, params)
    updates, _ = optimizer.update(zeros, optimizer.init(params), params)
    for name in SHAPES:
        decay = 0.0 if name in NO_DECAY else -0.02 * 0.1
        np.testing.assert_allclose(updates[name], decay * params[name], rtol=1e-5)


def test_the_clip_takes_the_norm_of_all_gradients_together():
    """Two gradients, each below the clip, together above it."""
    config = dataclasses.replace(CONFIG, warmup_steps=0, weight_decay=0.0, clip_norm=1.0)
    params = {"a": {"kernel": jnp.zeros(1)}, "b": {"bias": jnp.zeros(1)}}
    optimizer = make_optimizer(config, NUM_STEPS)

    def second_moment(value: float) -> float:
        grads = jax.tree.map(lambda x: jnp.full_like(x, value), params)
        _, state = optimizer.update(grads, optimizer.init(params), params)
        return float(state[1].nu["a"]["kernel"][0])

    assert second_moment(0.6) == pytest.approx(0.001 * 0.36, rel=1e-4)  # norm 0.85
    assert second_moment(0.9) == pytest.approx(0.001 * 0.5, rel=1e-4)  # norm 1.27
    assert second_moment(9.0) == pytest.approx(0.001 * 0.5, rel=1e-4)
