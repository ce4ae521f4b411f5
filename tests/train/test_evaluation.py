"""Held-out means, and the baseline of word frequencies."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from batches import make_masking, mask_batch, unpacked_batch
from flax import nnx

from bert_jax.batch import PretrainingBatch
from bert_jax.config_sections import MeshConfig
from bert_jax.objective.pretraining import make_pretraining_loss
from bert_jax.parallel.mesh import make_mesh
from bert_jax.train.evaluation import make_evaluate, mean_of_terms, unigram_metrics

MASKING = make_masking(rate=0.15, most=5, vocab_size=50)


def test_sums_and_weights_are_added_before_they_are_divided() -> None:
    terms = [
        {"x": (jnp.float32(3), jnp.float32(1))},
        {"x": (jnp.float32(1), jnp.float32(3))},
    ]
    assert mean_of_terms(terms) == {"x": 1.0}  # the mean of the means would be 5/3


def batch(seed: int, rows: int = 8, length: int = 32) -> PretrainingBatch:
    rng = np.random.default_rng(seed)
    ids_BL = rng.zipf(1.5, (rows, length)).clip(max=45).astype(np.int32) + 4
    ones_BL = (np.arange(length) < rng.integers(8, length, (rows, 1))).astype(np.int32)
    return unpacked_batch(
        ids_BL,
        np.zeros_like(ids_BL),
        ones_BL,
        labels_B=rng.integers(0, 2, rows),
        example_ids_B=np.arange(rows),
        epochs_B=np.full(rows, seed),
    )


@pytest.mark.parametrize("mesh", [MeshConfig(), MeshConfig(data=1, fsdp=-1)])
def test_unigram_baseline_in_plain_numpy(mesh: MeshConfig) -> None:
    batches = [batch(0), batch(1)]
    probs_V = np.random.default_rng(0).dirichlet(np.ones(50))
    found = unigram_metrics(
        make_pretraining_loss(MASKING, seed=9, sentence_task="nsp"),
        np.log(probs_V).astype(np.float32),
        batches,
        make_mesh(mesh),
    )
    labels, nsp = [], []
    for b in batches:
        masked = mask_batch(b, MASKING, 9)
        labels.append(np.asarray(masked.labels)[np.asarray(masked.weights) > 0])
        nsp.append(b.sentence_labels[:, 0])
    labels = np.concatenate(labels)
    assert found["mlm_loss"] == pytest.approx(-np.log(probs_V[labels]).mean(), rel=1e-5)
    assert found["mlm_accuracy"] == pytest.approx((labels == probs_V.argmax()).mean())
    assert found["nsp_loss"] == pytest.approx(np.log(2), rel=1e-6)
    assert found["nsp_accuracy"] == pytest.approx((np.concatenate(nsp) == 1).mean())


def test_evaluate_reads_all_batches_each_time() -> None:
    """And gives the loss no key: nothing is dropped."""

    def loss(model, x_B, key):
        assert key is None
        return {"x": (model.scale[...] * jnp.sum(x_B), jnp.float32(x_B.size))}, {}

    class Scale(nnx.Module):
        def __init__(self) -> None:
            self.scale = nnx.Param(jnp.zeros(()))

    batches = [np.full(8, 1.0, np.float32), np.full(16, 4.0, np.float32)]
    mesh = make_mesh(MeshConfig(), jax.devices()[:8])
    evaluate = make_evaluate(loss, nnx.graphdef(Scale()), lambda: iter(batches), mesh)
    for scale in (1.0, 2.0):
        assert evaluate({"scale": jnp.float32(scale)}) == {"x_loss": 3.0 * scale}
