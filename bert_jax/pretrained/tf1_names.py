"""The names of google-research/bert's checkpoints (2018) ↔ our parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from bert_jax.bert_config import BertConfig
from bert_jax.pretrained.name_table import (
    LAYERS,
    NameTable,
    find_encoder,
    parameter_pieces,
)
from bert_jax.pretrained.weight_layout import Piece, Shapes

_MODULES = {
    "bert/embeddings/word": "bert/embeddings/word_embeddings",
    "bert/embeddings/position": "bert/embeddings/position_embeddings",
    "bert/embeddings/token_type": "bert/embeddings/token_type_embeddings",
    "bert/embeddings/norm": "bert/embeddings/LayerNorm",
    f"{LAYERS}/attention/qkv": "bert/encoder/layer_{n}/attention/self/{part}",
    f"{LAYERS}/attention/output": "bert/encoder/layer_{n}/attention/output/dense",
    f"{LAYERS}/attention_norm": "bert/encoder/layer_{n}/attention/output/LayerNorm",
    f"{LAYERS}/feed_forward_in": "bert/encoder/layer_{n}/intermediate/dense",
    f"{LAYERS}/feed_forward_out": "bert/encoder/layer_{n}/output/dense",
    f"{LAYERS}/feed_forward_norm": "bert/encoder/layer_{n}/output/LayerNorm",
    "bert/pooler": "bert/pooler/dense",
    "masked_lm/transform": "cls/predictions/transform/dense",
    "masked_lm/norm": "cls/predictions/transform/LayerNorm",
}
# These heads have the names of the variables of the scripts that train them, and their
# kernels as (outputs, inputs).
_HEADS = {
    "masked_lm": "cls/predictions/output_",
    "next_sentence": "cls/seq_relationship/output_",
    "classifier": "output_",  # run_classifier.py
    "qa_outputs": "cls/squad/output_",  # run_squad.py
}
_ENDINGS = {"kernel": "/kernel", "bias": "/bias", "embedding": ""}
_NORM_ENDINGS = {"scale": "/gamma", "bias": "/beta"}
_HEAD_ENDINGS = {"kernel": "weights", "bias": "bias"}

_ANCHOR = "bert/embeddings/position_embeddings"


def _pieces(shapes: Shapes, config: BertConfig) -> list[Piece]:
    """The variables that parameters of `shapes` are made of."""
    pieces: list[Piece] = []
    for path, shape in shapes.items():
        module = path.rsplit("/", 1)[0]
        is_head = module in _HEADS
        endings = _HEAD_ENDINGS if is_head else _ENDINGS
        pieces += parameter_pieces(
            path,
            shape,
            config,
            _HEADS if is_head else _MODULES,
            _NORM_ENDINGS if module.endswith("norm") else endings,
            kernels_transposed=is_head,
        )
    return pieces


def _resolve(names: Iterable[str]) -> dict[str, str]:
    """The variable's name without what stands before `bert/` → its own name.

    Raises:
        ValueError: no encoder, or several.
    """
    names = list(names)
    prefix = find_encoder(names, _ANCHOR)
    return {name.removeprefix(prefix): name for name in names}


def _check(arrays: Mapping[str, np.ndarray], wanted: frozenset[str]) -> None:
    """Nothing stands twice in these files."""


def is_weight(name: str, variables: Mapping[str, tuple[str, tuple[int, ...]]]) -> bool:
    """Whether a variable is a weight: not a step, nor what an optimizer keeps of another.

    Args:
        name: of the variable.
        variables: all of the checkpoint: name → (dtype, shape).
    """
    is_slot = name.rpartition("/")[0] in variables
    dtype, shape = variables[name]
    return not is_slot and "float" in dtype and shape != ()


TF1 = NameTable(
    pieces=_pieces,
    resolve=_resolve,
    check=_check,
    needless=frozenset(),
    heads=("bert/pooler/", "cls/", "output_"),
    head_weights={head: f"{name}bias" for head, name in _HEADS.items()},
)
