"""The learning rate against a transcription of the 2018 code."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from optim.reference_optimizers import learning_rate_2018

from bert_jax.config_sections import OptimConfig
from bert_jax.optim.optimizer import make_schedule
from bert_jax.optim.schedules import warmup_linear_decay


def test_by_hand():
    rate = warmup_linear_decay(0.5, warmup_steps=10, num_steps=100)
    expected = {0: 0.0, 5: 0.25, 9: 0.45, 10: 0.45, 55: 0.225, 99: 0.005, 100: 0, 120: 0}
    for step, value in expected.items():
        np.testing.assert_allclose(rate(step), value, rtol=1e-5, atol=1e-8)


def test_without_warmup_the_first_rate_is_the_peak():
    rate = warmup_linear_decay(0.5, warmup_steps=0, num_steps=10)
    assert rate(0) == 0.5 and rate(9) == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("warmup_steps", "num_steps"), [(0, 7), (1, 7), (6, 7), (10_000, 1_000_000)]
)
def test_equals_the_2018_code_at_every_kind_of_step(warmup_steps, num_steps):
    config = OptimConfig(learning_rate=1e-4, warmup_steps=warmup_steps)
    rate = jax.jit(make_schedule(config, num_steps))
    near = {0, 1, warmup_steps // 2, num_steps // 2, num_steps - 1, num_steps}
    for step in sorted(near | {max(warmup_steps + d, 0) for d in (-1, 0, 1)}):
        expected = learning_rate_2018(step, 1e-4, num_steps, warmup_steps)
        np.testing.assert_allclose(rate(step), expected, rtol=2e-5, atol=1e-12)
