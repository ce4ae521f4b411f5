"""The rate of masks over a run."""

from __future__ import annotations

import numpy as np
import pytest

from bert_jax.config_sections import ObjectiveConfig
from bert_jax.objective.mask_rates import mask_rates, stage_of


def test_a_constant_rate_is_one_stage():
    assert mask_rates(ObjectiveConfig(mask_rate=0.2)) == (0.2,)


@pytest.mark.parametrize(("first", "last"), [(0.3, 0.15), (0.15, 0.4), (0.15, 0.15)])
def test_a_rate_moves_in_16_equal_steps(first, last):
    rates = mask_rates(ObjectiveConfig(mask_rate=first, final_mask_rate=last))
    assert len(rates) == 16
    assert (rates[0], rates[-1]) == (first, last)
    assert np.allclose(np.diff(rates), (last - first) / 15)


@pytest.mark.parametrize("num_steps", [1, 5, 16, 1000, 1_000_000])
def test_stages_are_equal_parts_of_the_run_in_order(num_steps):
    checked = range(0, num_steps, max(1, num_steps // 1000))
    stages = [stage_of(step, num_steps, 16) for step in checked]
    assert stages == sorted(stages) and stages[0] == 0
    assert np.ptp(np.bincount(stages, minlength=16)) <= 1
    assert stage_of(num_steps - 1, num_steps, 16) == (15 if num_steps > 15 else stages[-1])
    assert stage_of(num_steps, num_steps, 16) == stage_of(10**9, num_steps, 16) == 15
    assert stage_of(-1, num_steps, 16) == 0
    assert stage_of(num_steps // 2, num_steps, 1) == 0


def test_it_is_plain_python(run_python):
    code = "import sys, bert_jax.objective.mask_rates; sys.exit('jax' in sys.modules)"
    done = run_python("-c", code)
    assert done.returncode == 0, done.stderr
