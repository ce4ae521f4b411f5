"""The share of tokens to predict over a run, as a few rates; plain Python.

A rate that moves in stages is an index into a table, so that the step is compiled once
and the numbers of masks stay those of float64.
"""

from __future__ import annotations

from bert_jax.config_sections import ObjectiveConfig

_NUM_STAGES = 16


def mask_rates(objective: ObjectiveConfig) -> tuple[float, ...]:
    """The rate of each stage of a run: one, or 16 that are evenly spaced.

    Returns:
        Rates in (0, 1); the first is `mask_rate`, the last of several `final_mask_rate`.
    """
    first, last = objective.mask_rate, objective.final_mask_rate
    if last is None:
        return (first,)
    steps = _NUM_STAGES - 1
    return tuple((first * (steps - i) + last * i) / steps for i in range(_NUM_STAGES))


def stage_of(step: int, num_steps: int, num_stages: int) -> int:
    """The stage that `step` belongs to, of equal stages of a run.

    Args:
        step: 0 is the first of the run; the last stage lasts beyond its end.
        num_steps: steps of the run, at least 1.
        num_stages: length of `mask_rates`.

    Returns:
        An index in [0, num_stages).
    """
    return min(max(step * num_stages // num_steps, 0), num_stages - 1)
