"""Small models with random weights, and folders as Hugging Face has them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import bert_jax
from bert_jax.bert_config import BertConfig
from bert_jax.formats.safetensors_files import write_safetensors
from bert_jax.pretrained.config_files import hugging_face_config
from bert_jax.pretrained.saving import state_dict

CLASSES = (
    "BertModel",
    "BertForPreTraining",
    "BertForMaskedLM",
    "BertForNextSentencePrediction",
    "BertForSequenceClassification",
    "BertForTokenClassification",
    "BertForQuestionAnswering",
    "BertForMultipleChoice",
)
# No two sizes are equal, and the vocabulary is no multiple of 128.
CONFIG = BertConfig(
    vocab_size=83,
    hidden_size=24,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=40,
    max_position_embeddings=20,
)
IDS = np.array([[2, 9, 17, 4, 30, 3], [2, 40, 3, 0, 0, 0]])
MASK = np.array([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0]])


def make_model(class_name: str, seed: int = 0, **fields: Any) -> Any:
    """A model whose weights are all unlike each other."""
    config = dataclasses.replace(CONFIG, **fields)
    cls = getattr(bert_jax, class_name)
    graphdef, abstract = nnx.split(nnx.eval_shape(lambda: cls(config, rngs=nnx.Rngs(0))))
    rng = np.random.default_rng(seed)
    state = jax.tree.map(
        lambda x: jnp.asarray(0.2 * rng.standard_normal(x.shape), x.dtype), abstract
    )
    model = nnx.merge(graphdef, state)
    # As a file would give it: what pads the vocabulary is zero.
    encoder = model if class_name == "BertModel" else model.bert
    table = encoder.embeddings.word.embedding
    table[...] = table[...].at[config.vocab_size :].set(0.0)
    if hasattr(model, "masked_lm"):
        bias = model.masked_lm.bias
        bias[...] = bias[...].at[config.vocab_size :].set(0.0)
    return model


def make_arrays(class_name: str, **fields: Any) -> dict[str, np.ndarray]:
    """The weights of such a model, named as in Transformers."""
    return state_dict(make_model(class_name, **fields))


def write_folder(
    folder: Path,
    arrays: dict[str, np.ndarray],
    class_name: str = "BertForPreTraining",
    **values: Any,
) -> Path:
    """A folder of Hugging Face; `values` are entries of config.json to replace."""
    folder.mkdir(parents=True, exist_ok=True)
    write_safetensors(folder / "model.safetensors", arrays, {"format": "pt"})
    config = {**hugging_face_config(CONFIG, class_name), **values}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def flat_params(model: Any) -> dict[str, np.ndarray]:
    """path → array of a model."""
    leaves = jax.tree_util.tree_leaves_with_path(nnx.to_pure_dict(nnx.state(model)))
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf)
        for path, leaf in leaves
    }


def assert_equal_params(found: Any, expected: Any) -> None:
    """Both models have the same parameters, bit by bit."""
    ours, theirs = flat_params(found), flat_params(expected)
    assert ours.keys() == theirs.keys()
    for path, array in ours.items():
        np.testing.assert_array_equal(array, theirs[path], err_msg=path)
