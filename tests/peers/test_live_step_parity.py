"""As golden/test_step_parity.py, against PyTorch and Transformers themselves."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
from golden import cases
from golden.training import train

pytestmark = pytest.mark.peers


@pytest.fixture(scope="module")
def peer():
    """The peer's modules; imported here, for the tests are collected without torch too."""
    return importlib.import_module("golden.torch_peer")


@pytest.fixture(scope="module")
def batches():
    """Batches, and so masks, that the golden arrays have not seen."""
    return importlib.import_module("golden.make_goldens").masked_batches(seed=1)


@pytest.mark.parametrize("name", cases.OPTIMIZERS)
@pytest.mark.parametrize("weights_seed", [2, 3])
def test_twenty_updates(name, weights_seed, peer, batches):
    optim = cases.OPTIMIZERS[name]
    weights = peer.random_state(cases.CONFIG, weights_seed)
    run = train(weights, [batch for batch, _ in batches], optim)
    theirs = peer.train(peer.load_model(cases.CONFIG, weights), batches, optim)
    assert (theirs["grad_norm"] > optim.clip_norm).any()
    np.testing.assert_allclose(run.loss, theirs["loss"], rtol=0, atol=1e-4)


def test_the_published_initialisation_trains_the_same(peer, batches):
    """Weights as a run starts with, at the rate and decay that BERT was trained with."""
    weights = peer.published_initial_state(cases.CONFIG, seed=0)
    optim = type(cases.OPTIMIZERS["adamw"])(
        name="adamw", learning_rate=1e-4, warmup_steps=5
    )
    run = train(weights, [batch for batch, _ in batches], optim)
    theirs = peer.train(peer.load_model(cases.CONFIG, weights), batches, optim)
    np.testing.assert_allclose(run.loss, theirs["loss"], rtol=0, atol=1e-4)
