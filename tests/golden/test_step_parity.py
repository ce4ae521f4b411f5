"""Twenty updates of our train step and of PyTorch with Transformers, by golden arrays.

Clip, warm-up, decay of the rate and weight decay are all in force; the controls show that
each of them decides the result.
"""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest

from bert_jax.objective.masking import mask_tokens
from bert_jax.optim import adamw
from bert_jax.random_bits import fold
from golden import cases
from golden.hugging_face_names import params_from_hugging_face
from golden.training import train

LOSS_TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def golden():
    with np.load(cases.STEPS_FILE) as file:
        return dict(file)


@pytest.fixture(scope="module")
def weights():
    with np.load(cases.MODEL_FILE) as file:
        return {k.removeprefix("weights/"): file[k] for k in file if k.startswith("weights/")}


@pytest.fixture(scope="module")
def batches():
    return [cases.training_batch(step) for step in range(cases.NUM_STEPS)]


def test_masks_are_those_that_the_golden_run_was_given(golden, batches):
    for batch, expected in zip(batches, golden["masked_input_ids"], strict=True):
        seeds_B = fold(cases.SEED, batch.epochs, batch.example_ids)
        masked = mask_tokens(batch.input_ids, batch.attention_mask, seeds_B, cases.MASKING)
        assert np.array_equal(masked.input_ids, expected), "run make_goldens.py again"


@pytest.mark.parametrize("name", cases.OPTIMIZERS)
def test_twenty_updates_are_those_of_the_peer(name, golden, weights, batches):
    optim = cases.OPTIMIZERS[name]
    run = train(weights, batches, optim)
    norms = golden[f"{name}/grad_norm"]
    assert (norms > 1.2 * optim.clip_norm).any() and (norms < optim.clip_norm / 1.2).any()
    np.testing.assert_allclose(run.loss, golden[f"{name}/loss"], rtol=0, atol=LOSS_TOLERANCE)
    np.testing.assert_allclose(run.grad_norm, norms, rtol=1e-3)

    final = {
        key.removeprefix(f"{name}/weights/"): x
        for key, x in golden.items()
        if key.startswith(f"{name}/weights/")
    }
    expected = params_from_hugging_face(final, cases.CONFIG)
    # Adam divides a gradient by its own size: where one is hardly more than rounding
    # noise, so is the update. The rate is 1e-2, twenty times.
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, rtol=0, atol=5e-4),
        run.params,
        expected,
    )


def everything_decays(params):
    return jax.tree.map(lambda _: True, params)


def nothing_decays(params):
    return jax.tree.map(lambda _: False, params)


@pytest.mark.parametrize("name", cases.OPTIMIZERS)
@pytest.mark.parametrize(
    "broken",
    ["bias correction", "everything decays", "nothing decays", "no clip", "warm-up", "epsilon"],
)
def test_each_part_of_the_update_decides(name, broken, golden, weights, batches, monkeypatch):
    other = {"bert_adamw": "adamw", "adamw": "bert_adamw"}[name]
    changed = {
        "bias correction": {"name": other},
        "no clip": {"clip_norm": 1e9},
        "warm-up": {"warmup_steps": 4},
        "epsilon": {"epsilon": 1e-3},
    }
    if broken == "everything decays":
        monkeypatch.setattr(adamw, "decay_mask", everything_decays)
    elif broken == "nothing decays":
        monkeypatch.setattr(adamw, "decay_mask", nothing_decays)
    fields = changed[broken] if broken in changed else {}
    run = train(weights, batches, dataclasses.replace(cases.OPTIMIZERS[name], **fields))
    assert np.abs(run.loss - golden[f"{name}/loss"]).max() > 10 * LOSS_TOLERANCE
