"""Hugging Face's names of the weights of a BERT ↔ our parameters."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import numpy as np

from bert_jax.bert_config import BertConfig
from bert_jax.formats.mapped_file import quoted
from bert_jax.pretrained.name_table import (
    LAYERS,
    NameTable,
    find_encoder,
    parameter_pieces,
)
from bert_jax.pretrained.weight_layout import Piece, Shapes

_MODULES = {
    "bert/embeddings/word": "bert.embeddings.word_embeddings",
    "bert/embeddings/position": "bert.embeddings.position_embeddings",
    "bert/embeddings/token_type": "bert.embeddings.token_type_embeddings",
    "bert/embeddings/norm": "bert.embeddings.LayerNorm",
    f"{LAYERS}/attention/qkv": "bert.encoder.layer.{n}.attention.self.{part}",
    f"{LAYERS}/attention/output": "bert.encoder.layer.{n}.attention.output.dense",
    f"{LAYERS}/attention_norm": "bert.encoder.layer.{n}.attention.output.LayerNorm",
    f"{LAYERS}/feed_forward_in": "bert.encoder.layer.{n}.intermediate.dense",
    f"{LAYERS}/feed_forward_out": "bert.encoder.layer.{n}.output.dense",
    f"{LAYERS}/feed_forward_norm": "bert.encoder.layer.{n}.output.LayerNorm",
    "bert/pooler": "bert.pooler.dense",
    "masked_lm/transform": "cls.predictions.transform.dense",
    "masked_lm/norm": "cls.predictions.transform.LayerNorm",
    "masked_lm": "cls.predictions",
    "next_sentence": "cls.seq_relationship",
    "classifier": "classifier",
    "qa_outputs": "qa_outputs",
}
_ENDINGS = {
    "kernel": ".weight",
    "bias": ".bias",
    "scale": ".weight",
    "embedding": ".weight",
}

_ANCHOR = "embeddings.position_embeddings.weight"
_ENCODER_PARTS = ("embeddings.", "encoder.", "pooler.")
_HEAD_PARTS = ("cls.", "classifier.", "qa_outputs.")
# Weights that a file may have twice: the name that we read, and the other one.
_TIED = {
    "bert.embeddings.word_embeddings.weight": "cls.predictions.decoder.weight",
    "cls.predictions.bias": "cls.predictions.decoder.bias",
}
_BUFFERS = ("bert.embeddings.position_ids", "bert.embeddings.token_type_ids")
_OLD_NORM = re.compile(r"LayerNorm\.(gamma|beta)$")
_OLD_NORM_ENDINGS = {"gamma": "LayerNorm.weight", "beta": "LayerNorm.bias"}


def _pieces(shapes: Shapes, config: BertConfig) -> list[Piece]:
    """The arrays that parameters of `shapes` are made of."""
    return [
        piece
        for path, shape in shapes.items()
        for piece in parameter_pieces(
            path, shape, config, _MODULES, _ENDINGS, kernels_transposed=True
        )
    ]


def _resolve(names: Iterable[str]) -> dict[str, str]:
    """Our spelling of each name, `bert.` before the encoder's → the file's own.

    Raises:
        ValueError: no encoder, or several.
    """
    names = list(names)
    prefix = find_encoder(names, _ANCHOR)
    parent = prefix[: prefix.rstrip(".").rfind(".") + 1]
    resolved: dict[str, str] = {}
    for name in names:
        inner = name.removeprefix(prefix)
        if name.startswith(prefix) and inner.startswith(_ENCODER_PARTS):
            spelled = f"bert.{inner}"
        elif name.startswith(prefix) and inner.startswith(_HEAD_PARTS):
            spelled = inner
        elif name.startswith(parent):
            spelled = name.removeprefix(parent)
        else:
            spelled = name
        spelled = _OLD_NORM.sub(lambda match: _OLD_NORM_ENDINGS[match[1]], spelled)
        if spelled in resolved:
            raise ValueError(
                f"{quoted(name)} and {quoted(resolved[spelled])} are one weight under two "
                "names; keep one of them"
            )
        resolved[spelled] = name
    for ours, other in _TIED.items():
        if ours not in resolved and other in resolved:
            resolved[ours] = resolved.pop(other)
    return resolved


def _check_tied(arrays: Mapping[str, np.ndarray], wanted: frozenset[str]) -> None:
    """Raises ValueError where a weight that we hold once stands twice, and differs."""
    if "cls.predictions.bias" not in wanted:  # no decoder is asked for
        return
    for ours, other in _TIED.items():
        if ours in arrays and other in arrays:
            ours_array, other_array = arrays[ours], arrays[other]
            same_memory = ours_array.ctypes.data == other_array.ctypes.data
            if not same_memory and not np.array_equal(ours_array, other_array):
                raise ValueError(
                    f"{other} must be equal to {ours}: a decoder of its own cannot be "
                    "loaded; load the encoder alone, with BertModel"
                )


HUGGING_FACE = NameTable(
    pieces=_pieces,
    resolve=_resolve,
    check=_check_tied,
    needless=frozenset((*_TIED.values(), *_BUFFERS)),
    heads=("bert.pooler.", *_HEAD_PARTS),
    head_weights={
        head: f"{_MODULES[head]}.bias"
        for head in ("masked_lm", "next_sentence", "classifier", "qa_outputs")
    },
)


def hugging_face_arrays(
    params: Mapping[str, np.ndarray], config: BertConfig
) -> dict[str, np.ndarray]:
    """Weights, or their gradients, under the names of Transformers.

    Args:
        params: path → array, of a model with heads; the table's padding is left out.
        config: the architecture.

    Returns:
        name → contiguous array; the tied decoder does not stand there a second time.
    """
    shapes = {path: array.shape for path, array in params.items()}
    return {
        piece.name: piece.array(params[piece.path]) for piece in _pieces(shapes, config)
    }
