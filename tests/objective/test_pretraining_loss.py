"""The pretraining loss: what it hands to the model and what it makes of the answer."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
from batches import make_masking, mask_batch, unpacked_batch

from bert_jax.batch import PretrainingBatch
from bert_jax.objective.losses import mean
from bert_jax.objective.pretraining import make_pretraining_loss

V = 50
MASKING = make_masking(rate=0.2, most=5, vocab_size=V)


def make_batch(num_rows: int = 6, length: int = 24) -> PretrainingBatch:
    rng = np.random.default_rng(0)
    return unpacked_batch(
        rng.integers(5, V, (num_rows, length)),
        np.ones((num_rows, length)),
        np.ones((num_rows, length)),
        labels_B=np.arange(num_rows) % 2,
        example_ids_B=np.arange(100, 100 + num_rows),
        epochs_B=np.full(num_rows, 3),
    )


class Recorder:
    """A model that knows nothing, sure that the next sentence follows."""

    def __call__(self, *inputs, **options):
        self.seen = inputs
        self.options = options
        num_rows, num_places = options["masked_positions"].shape
        return SimpleNamespace(
            prediction_logits=jnp.zeros((num_rows, num_places, V)),
            seq_relationship_logits=jnp.broadcast_to(
                jnp.array([20.0, 0.0]), (*options["sequence_starts"].shape, 2)
            ),
        )


def test_losses_and_accuracies_are_sums_with_their_weights():
    losses, others = make_pretraining_loss(MASKING, seed=7, sentence_task="nsp")(
        Recorder(), make_batch(), None
    )
    assert set(losses) == {"mlm", "nsp"} and set(others) == {"mlm_accuracy", "nsp_accuracy"}
    assert losses["mlm"][1] == 6 * 5 and losses["nsp"][1] == 6
    np.testing.assert_allclose(losses["mlm"][0], 30 * np.log(V), rtol=1e-6)
    np.testing.assert_allclose(losses["nsp"][0], 3 * 20, rtol=1e-6)
    assert mean(others["nsp_accuracy"]) == 0.5


def test_the_model_is_given_masked_rows_and_their_positions():
    model, batch = Recorder(), make_batch()
    make_pretraining_loss(MASKING, seed=7, sentence_task="nsp")(model, batch, None)
    expected = mask_batch(batch, MASKING, 7)
    assert np.array_equal(model.seen[0], expected.input_ids)
    assert np.array_equal(model.seen[1], batch.sequence_ids)
    assert np.array_equal(model.seen[2], batch.token_type_ids)
    assert np.array_equal(model.seen[3], batch.position_ids)
    assert model.options["sequence_ids"] is None
    assert np.array_equal(model.options["masked_positions"], expected.positions)
    assert model.options["dropout_seeds"] is None


def test_dropout_seeds_belong_to_key_and_example():
    batch, model, loss_fn = (
        make_batch(),
        Recorder(),
        make_pretraining_loss(MASKING, seed=7, sentence_task="nsp"),
    )

    def seeds(key: int, rows: slice = slice(None)) -> np.ndarray:
        loss_fn(model, jax.tree.map(lambda x: x[rows], batch), jax.random.key(key))
        return np.asarray(model.options["dropout_seeds"])

    assert len(np.unique(seeds(0))) == 6
    assert np.array_equal(seeds(0, slice(2, 5)), seeds(0)[2:5])
    assert not np.isin(seeds(1), seeds(0)).any()


def test_masks_do_not_depend_on_the_key():
    batch, loss_fn = (
        make_batch(),
        make_pretraining_loss(MASKING, seed=7, sentence_task="nsp"),
    )
    found = []
    for key in (None, jax.random.key(0), jax.random.key(1)):
        model = Recorder()
        loss_fn(model, batch, key)
        found.append(np.asarray(model.seen[0]))
    assert np.array_equal(found[0], found[1]) and np.array_equal(found[1], found[2])


def test_a_batch_with_nothing_to_predict_stays_finite():
    batch = make_batch()._replace(input_ids=np.full((6, 24), 2, np.int32))
    losses, _ = make_pretraining_loss(MASKING, seed=7, sentence_task="nsp")(
        Recorder(), batch, None
    )
    assert losses["mlm"] == (0.0, 0.0) and mean(losses["mlm"]) == 0


def test_the_sentence_task_gives_its_name_and_none_has_no_loss():
    batch = make_batch()
    for task, names in (("sop", {"mlm", "sop"}), ("none", {"mlm"})):
        loss_fn = make_pretraining_loss(MASKING, seed=7, sentence_task=task)
        losses, others = loss_fn(Recorder(), batch, None)
        assert set(losses) == names
        assert set(others) == {f"{name}_accuracy" for name in names}


def test_every_pair_weighs_the_same_and_what_is_none_weighs_nothing():
    """Six rows of up to three sequences: nine pairs, two of them with a wrong answer."""
    batch = make_batch()
    labels_BS = np.full((6, 3), -1, np.int32)
    labels_BS[:, 0] = [0, 0, 0, 1, 0, 0]
    labels_BS[:3, 1] = [0, 1, 0]
    batch = batch._replace(
        sentence_labels=labels_BS,
        sequence_starts=np.zeros((6, 3), np.int32),
        example_ids=np.arange(18, dtype=np.uint32).reshape(6, 3),
    )
    masking = dataclasses.replace(MASKING, num_predictions=15)
    model = Recorder()
    losses, others = make_pretraining_loss(masking, seed=7, sentence_task="nsp")(
        model, batch, None
    )
    assert losses["nsp"][1] == 9 and others["nsp_accuracy"] == (7, 9)
    np.testing.assert_allclose(losses["nsp"][0], 2 * 20, rtol=1e-6)
    assert np.array_equal(model.options["sequence_ids"], batch.sequence_ids)
