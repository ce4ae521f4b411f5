"""Every class against its twin in Transformers: files both ways, outputs, gradients."""

from __future__ import annotations

import functools
import importlib
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import bert_jax
from bert_jax.pretrained.hugging_face_names import hugging_face_arrays
from bert_jax.pretrained.trees import flat_arrays

pytestmark = pytest.mark.peers

TWO_SEGMENTS = {
    "vocab_size": 83,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 40,
    "max_position_embeddings": 20,
}
ONE_SEGMENT = {
    "vocab_size": 131,  # more than 128 rows
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "intermediate_size": 32,
    "max_position_embeddings": 16,
    "type_vocab_size": 1,
    "hidden_act": "gelu_new",
    "layer_norm_eps": 1e-6,
}
ONE_HEAD = {
    "vocab_size": 60,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "intermediate_size": 64,
    "max_position_embeddings": 33,
    "hidden_act": "gelu_pytorch_tanh",
    "pad_token_id": 7,
}
ONE_LAYER = {**TWO_SEGMENTS, "num_hidden_layers": 1}
HEAD = {"num_labels": 5, "classifier_dropout": 0.0}

# Several layers cost seconds to compile: the encoder is seen whole under one class.
CASES = {
    "BertModel": ("BertModel", ONE_HEAD),
    "BertForPreTraining-2": ("BertForPreTraining", TWO_SEGMENTS),
    "BertForPreTraining-1": ("BertForPreTraining", ONE_SEGMENT),
    "BertForMaskedLM": ("BertForMaskedLM", {**ONE_SEGMENT, "num_hidden_layers": 1}),
    "BertForNextSentencePrediction": ("BertForNextSentencePrediction", ONE_LAYER),
    "single": ("BertForSequenceClassification", {**ONE_LAYER, **HEAD}),
    "multi": (
        "BertForSequenceClassification",
        {**ONE_HEAD, **HEAD, "problem_type": "multi_label_classification"},
    ),
    "regression": ("BertForSequenceClassification", {**ONE_HEAD, "num_labels": 1}),
    "BertForTokenClassification": ("BertForTokenClassification", {**ONE_LAYER, **HEAD}),
    "BertForQuestionAnswering": ("BertForQuestionAnswering", ONE_LAYER),
    "BertForMultipleChoice": ("BertForMultipleChoice", ONE_HEAD),
}
# What is added to all that one softmax compares changes no probability. Its gradient is 0,
# and in floating point what rounding leaves of sums that cancel.
WITHOUT_EFFECT = {
    **dict.fromkeys(CASES, ()),
    "BertForQuestionAnswering": ("qa_outputs.bias", "layer.0.output.LayerNorm.bias"),
    "BertForMultipleChoice": ("classifier.bias",),
}


def inputs_of(case: str) -> dict[str, np.ndarray]:
    """Ragged rows, pairs where there are segments, positions in an order of their own."""
    class_name, fields = CASES[case]
    rng = np.random.default_rng(5)
    shape = (3, 2, 12) if class_name == "BertForMultipleChoice" else (3, 12)
    lengths = rng.integers(5, 13, shape[:-1])
    lengths.flat[0] = 12
    index_L = np.arange(12)
    mask = (index_L < lengths[..., None]).astype(np.int32)
    ids = rng.integers(0, fields["vocab_size"], shape)
    pad_id = fields["pad_token_id"] if "pad_token_id" in fields else 0
    positions = [rng.permutation(16)[:12] for _ in range(lengths.size)]
    inputs = {
        "input_ids": np.where(mask == 1, ids, pad_id).astype(np.int32),
        "attention_mask": mask,
        "position_ids": np.stack(positions).reshape(shape).astype(np.int32),
    }
    if "type_vocab_size" not in fields:
        inputs["token_type_ids"] = (mask * (index_L >= 4)).astype(np.int32)
    return inputs


def labels_of(case: str) -> dict[str, np.ndarray]:
    """Targets, among them such as do not count."""
    fields = CASES[case][1]
    rng = np.random.default_rng(6)
    words = np.where(
        rng.random((3, 12)) < 0.4, rng.integers(0, fields["vocab_size"], (3, 12)), -100
    )
    tags = np.where(rng.random((3, 12)) < 0.7, rng.integers(0, 5, (3, 12)), -100)
    sentences = np.array([1, 0, -100])
    return {
        "BertForPreTraining-2": {"labels": words, "next_sentence_label": sentences},
        "BertForPreTraining-1": {"labels": words, "next_sentence_label": sentences},
        "BertForMaskedLM": {"labels": words},
        "BertForNextSentencePrediction": {"labels": sentences},
        "single": {"labels": np.array([4, 0, 2])},
        "multi": {"labels": (rng.random((3, 5)) < 0.5).astype(np.float32)},
        "regression": {"labels": rng.standard_normal(3).astype(np.float32)},
        "BertForTokenClassification": {"labels": tags},
        "BertForQuestionAnswering": {
            "start_positions": np.array([0, 3, 12]),  # 12 is beyond: it does not count
            "end_positions": np.array([2, 40, 11]),
        },
        "BertForMultipleChoice": {"labels": np.array([1, 0, 1])},
    }[case]


@pytest.fixture(scope="module")
def peer() -> Any:
    """The peer's module; imported here, for the tests are collected without torch too."""
    return importlib.import_module("peers.hugging_face_models")


@pytest.fixture(scope="module", params=CASES)
def case(request: Any) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def theirs(case: str, peer: Any) -> Any:
    class_name, fields = CASES[case]
    return peer.make_model(class_name, seed=3, **fields)


@pytest.fixture(scope="module")
def ours(case: str, theirs: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Our model of the files that torch has written."""
    folder = tmp_path_factory.mktemp(case)
    theirs.save_pretrained(folder)
    return getattr(bert_jax, CASES[case][0]).from_pretrained(folder, strict_head=True)


def assert_close(found: dict[str, Any], expected: dict[str, Any], mask: np.ndarray) -> None:
    """To 1e-5 of the scale of each output, where there are tokens."""
    assert found.keys() == expected.keys()
    mask_BL = mask.reshape(-1, mask.shape[-1]) == 1
    for name, theirs in expected.items():
        ours = np.asarray(found[name])
        assert ours.shape == theirs.shape, name
        difference, scale = np.abs(ours - theirs), np.abs(theirs).max()
        if name == "attentions":  # of a query that is padding, nothing is asked
            difference = difference * mask_BL[None, :, None, :, None]
        elif name == "hidden_states":
            difference = difference * mask_BL[None, :, :, None]
        elif theirs.ndim == 3:
            difference = difference * mask_BL[..., None]
        elif name in ("start_logits", "end_logits"):
            difference = difference * mask_BL
        assert difference.max() <= 1e-5 * scale, (name, difference.max() / scale)


def all_outputs(model: Any, inputs: dict[str, np.ndarray]) -> dict[str, Any]:
    output = model(**inputs, output_hidden_states=True, output_attentions=True)
    return {
        name: np.stack(x) if isinstance(x, tuple) else x
        for name, x in vars(output).items()
        if x is not None
    }


def test_their_files_give_their_numbers_here(
    case: str, theirs: Any, ours: Any, peer: Any
) -> None:
    inputs = inputs_of(case)
    expected = peer.outputs(theirs, inputs)
    assert_close(all_outputs(ours, inputs), expected, inputs["attention_mask"])


def test_our_files_give_our_numbers_there(
    case: str, ours: Any, peer: Any, tmp_path: Path
) -> None:
    ours.save_pretrained(tmp_path)
    inputs = inputs_of(case)
    back = peer.outputs(peer.load_model(CASES[case][0], tmp_path), inputs)
    assert_close(all_outputs(ours, inputs), back, inputs["attention_mask"])


@pytest.mark.parametrize("case", ["BertModel"], indirect=True)
def test_another_activation_is_noticed(
    case: str, theirs: Any, peer: Any, tmp_path: Path
) -> None:
    theirs.save_pretrained(tmp_path)
    inputs = inputs_of(case)
    other = bert_jax.BertModel.from_pretrained(tmp_path, hidden_act="gelu")
    with pytest.raises(AssertionError):
        assert_close(
            all_outputs(other, inputs),
            peer.outputs(theirs, inputs),
            inputs["attention_mask"],
        )


@pytest.mark.parametrize("case", [c for c in CASES if c != "BertModel"], indirect=True)
def test_loss_and_gradients(case: str, theirs: Any, ours: Any, peer: Any) -> None:
    inputs, labels = inputs_of(case), labels_of(case)
    expected = peer.gradients(theirs, {**inputs, **labels})
    graphdef, state = nnx.split(ours)

    # Compiled in a hurry: most of the time of this test is compilation.
    @functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
    def loss_and_gradient(state: Any) -> Any:
        def loss(state: Any) -> jax.Array:
            device = {name: jnp.asarray(x) for name, x in {**inputs, **labels}.items()}
            return nnx.merge(graphdef, state)(**device).loss

        return jax.value_and_grad(loss)(state)

    loss, gradient = loss_and_gradient(state)
    their_loss = peer.outputs(theirs, {**inputs, **labels})["loss"]
    np.testing.assert_allclose(loss, their_loss, rtol=1e-5)
    found = hugging_face_arrays(flat_arrays(nnx.to_pure_dict(gradient)), ours.config)
    assert found.keys() == expected.keys()
    largest = max(np.abs(g).max() for g in expected.values())
    assert largest > 1e-2
    without_effect = ("self.key.bias", *WITHOUT_EFFECT[case])
    for name, g in expected.items():
        difference = np.abs(found[name] - g).max()
        if name.endswith(without_effect):
            assert np.abs(found[name]).max() < 1e-6 * largest, name
        else:
            scale = max(np.abs(g).max(), 1e-3 * largest)
            assert difference <= 1e-4 * scale, (name, difference / scale)
