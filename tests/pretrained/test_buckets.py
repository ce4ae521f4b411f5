"""Ragged input: few compilations, the same numbers."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
from pretrained.small_models import CONFIG, make_model

from bert_jax.pretrained import buckets

LENGTHS = (3, 7, 9, 15, 16, 17, 20)


def network_answer(model: Any, **inputs: Any) -> Any:
    """What the network says without buckets: inside `jit` nothing is padded."""
    return jax.jit(lambda given: model(**given))(inputs)


def rows(length: int, batch: int = 3) -> np.ndarray:
    return np.random.default_rng(length).integers(5, CONFIG.vocab_size, (batch, length))


def test_few_compilations_and_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model("BertForPreTraining")
    buckets._call.clear_cache()
    for length in LENGTHS:
        for batch in (3, 4):
            ids = rows(length, batch)
            found, expected = model(ids), network_answer(model, input_ids=ids)
            assert found.prediction_logits.shape == (batch, length, CONFIG.vocab_size)
            for a, b in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
                np.testing.assert_allclose(a, b, atol=3e-6)
    # Rows of 16 and of 20, the longest that the model takes.
    assert buckets._call._cache_size() == 2


def test_masks_segments_and_positions_keep_their_rows() -> None:
    model = make_model("BertModel")
    ids = rows(11)
    inputs = {
        "input_ids": ids,
        "attention_mask": np.arange(11) < np.array([[11], [4], [7]]),
        "token_type_ids": (np.arange(11) > 5).astype(np.int32) * np.ones((3, 1), np.int32),
        "position_ids": np.arange(11)[::-1] * np.ones((3, 1), np.int32),
    }
    found, expected = model(**inputs), network_answer(model, **inputs)
    for a, b in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        np.testing.assert_allclose(a, b, atol=3e-6)


@pytest.mark.parametrize("length", [5, 16, 18])
@pytest.mark.parametrize("form", ["row", "one row", "number"])
def test_inputs_that_broadcast(form: str, length: int) -> None:
    """What stands for all rows stands for them in the padded batch, too."""
    model = make_model("BertModel")
    positions, types = np.arange(length)[::-1], np.arange(length) % 2
    mask = np.arange(length) < length - 2
    given = {"position_ids": positions, "token_type_ids": types, "attention_mask": mask}
    if form == "one row":
        given = {name: array[None] for name, array in given.items()}
    if form == "number":
        given = {"token_type_ids": np.array(1)}
    ids = rows(length)
    full = {name: np.broadcast_to(array, ids.shape) for name, array in given.items()}
    expected = network_answer(model, input_ids=ids, **full)
    for name in given:  # each alone, and all together
        one = {key: given[key] if key == name else full[key] for key in given}
        found = model(input_ids=ids, **one)
        for a, b in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
            np.testing.assert_allclose(a, b, atol=3e-6, err_msg=name)
    found = model(input_ids=ids, **given)
    np.testing.assert_allclose(
        found.last_hidden_state, expected.last_hidden_state, atol=3e-6
    )


@pytest.mark.parametrize(
    ("name", "shape"),
    [("attention_mask", (3, 6)), ("position_ids", (2, 7)), ("token_type_ids", (3, 1, 7))],
)
def test_inputs_that_do_not_fit(name: str, shape: tuple[int, ...]) -> None:
    model = make_model("BertModel")
    with pytest.raises(
        ValueError, match=rf"^{name} has shape .* does not fit .* \(3, 7\)$"
    ):
        model(input_ids=rows(7), **{name: np.ones(shape, np.int32)})


@pytest.mark.parametrize("shape", [(0, 5), (3, 0)])
def test_nothing_is_no_input(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"at least one row and one token$"):
        make_model("BertModel")(np.zeros(shape, np.int32))


def test_a_model_of_one_position() -> None:
    model = make_model("BertModel", max_position_embeddings=1)
    ids = np.array([[7], [9], [7]])
    found, expected = model(ids), network_answer(model, input_ids=ids)
    for a, b in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        np.testing.assert_allclose(a, b, atol=3e-6)


def test_the_kinds_of_dims_are_asked_for_once_a_bucket() -> None:
    buckets._kinds_of_dims.cache_clear()
    model = make_model("BertModel")
    for length in (3, 9, 16):
        model(rows(length))
    assert buckets._kinds_of_dims.cache_info().misses == 1
    for length in (17, 18):
        model(rows(length), output_hidden_states=True)
    assert buckets._kinds_of_dims.cache_info().misses == 2


@pytest.mark.parametrize(
    ("length", "longest", "bucket"),
    [
        (1, 512, 16),
        (16, 512, 16),
        (17, 512, 32),
        (400, 512, 512),
        (19, 20, 20),
        (30, 20, 30),
    ],
)
def test_bucket_length(length: int, longest: int, bucket: int) -> None:
    assert buckets.bucket_length(length, longest) == bucket


def test_training_is_left_alone() -> None:
    assert not buckets.can_be_bucketed({"input_ids": rows(3), "labels": rows(3)})
    seen = []
    jax.jit(lambda ids: seen.append(buckets.can_be_bucketed({"input_ids": ids})))(rows(3))
    assert seen == [False]
    assert buckets.can_be_bucketed({"input_ids": rows(3)})
