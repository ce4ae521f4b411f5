"""`config.json` of Hugging Face and `bert_config.json` of 2018 ↔ BertConfig."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bert_jax.bert_config import BertConfig, LabelNames
from bert_jax.formats.mapped_file import map_file, quoted
from bert_jax.formats.strict_json import parse_object

_MAX_BYTES = 16 * 2**20
_LONGEST_MESSAGE = 300

# Names of activations → ours.
_ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_tanh": "gelu_tanh",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
}
# The names that every version of Transformers knows.
_WRITTEN_ACTIVATIONS = {"gelu": "gelu", "gelu_tanh": "gelu_new"}

# What would make another network of it: field → the one value that we compute.
_FIXED = {
    "model_type": "bert",
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "add_cross_attention": False,
    "is_encoder_decoder": False,
}
_FIELDS = tuple(field.name for field in dataclasses.fields(BertConfig))


# The classes of Transformers that this package has too.
_CLASSES = (
    "BertModel",
    "BertForPreTraining",
    "BertForMaskedLM",
    "BertForNextSentencePrediction",
    "BertForSequenceClassification",
    "BertForTokenClassification",
    "BertForQuestionAnswering",
    "BertForMultipleChoice",
)


def read_hugging_face_config(path: Path) -> tuple[BertConfig, str]:
    """What a `config.json` describes; what it leaves out is default.

    Returns:
        The architecture, and the name of the class of Transformers, if there is one such
        here; else an empty string.

    Raises:
        ValueError: it is no such file, or describes what this package does not compute.
    """
    values = _read_json(path)
    for name, value in _FIXED.items():
        if name in values and values[name] not in (value, None):
            raise ValueError(
                f"{path}: {name}={quoted(str(values[name]))} must be {value!r}; no other "
                "network of this kind is computed here"
            )
    if values.get("pruned_heads"):
        raise ValueError(f"{path}: pruned_heads must be empty; load it before pruning")
    fields = {name: values[name] for name in _FIELDS if name in values}
    if "id2label" in fields and isinstance(fields["id2label"], Mapping | list):
        fields["num_labels"] = len(fields["id2label"])
    elif "num_labels" not in fields and "_num_labels" in values:
        fields["num_labels"] = values["_num_labels"]
    named = values["architectures"] if "architectures" in values else None
    listed = named if isinstance(named, list) else []
    known = [name for name in listed if name in _CLASSES]
    return _config(path, fields), known[0] if len(known) == len(listed) == 1 else ""


def read_tf1_config(path: Path) -> BertConfig:
    """The architecture of a `bert_config.json` of 2018, whose "gelu" is the tanh form.

    Raises:
        ValueError: it is no such file, or describes what this package does not compute.
    """
    values = _read_json(path)
    fields = {name: values[name] for name in _FIELDS if name in values}
    if "hidden_act" not in fields or fields["hidden_act"] == "gelu":
        fields["hidden_act"] = "gelu_tanh"
    return _config(path, fields)


def replaced(config: BertConfig, overrides: Mapping[str, Any]) -> BertConfig:
    """`config` with other values of some fields, as users of Transformers write them.

    Args:
        config: the architecture.
        overrides: fields of BertConfig, or `label2id`. Labels that are only counted have
            no names; labels that are only named are counted.

    Raises:
        ValueError: there is no such field, or a value is impossible.
    """
    fields = dict(overrides)
    for name in fields:
        if name not in (*_FIELDS, "label2id"):
            near = difflib.get_close_matches(name, _FIELDS, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ValueError(f"{name} is not a field of BertConfig{hint}")
    if "label2id" in fields:
        label2id = fields.pop("label2id")
        if not isinstance(label2id, Mapping):
            raise ValueError(f"label2id={label2id!r:.80} must be a dict, name → number")
        inverse = LabelNames.read({i: name for name, i in label2id.items()})
        if "id2label" in fields and LabelNames.read(fields["id2label"]) != inverse:
            raise ValueError("label2id must be the inverse of id2label; give one of them")
        fields["id2label"] = inverse
    if "id2label" in fields and "num_labels" not in fields:
        fields["num_labels"] = len(LabelNames.read(fields["id2label"]))
    elif "id2label" not in fields and "num_labels" in fields:
        is_same = fields["num_labels"] == config.num_labels
        # Names that nobody chose give way to any number.
        fields["id2label"] = config.id2label if is_same else LabelNames.numbered(2)
    return dataclasses.replace(config, **_translated(fields))


def hugging_face_config(config: BertConfig, architecture: str) -> dict[str, Any]:
    """What `config.json` says of a model, plain values.

    Args:
        config: the architecture.
        architecture: name of the class in Transformers; empty: of none.
    """
    values: dict[str, Any] = {
        **({"architectures": [architecture]} if architecture else {}),
        "model_type": "bert",
        **dataclasses.asdict(config),
        "hidden_act": _WRITTEN_ACTIVATIONS[config.hidden_act],
        "position_embedding_type": "absolute",
        "id2label": {str(i): name for i, name in config.id2label.items()},
        "label2id": config.label2id,
    }
    del values["num_labels"]  # Transformers counts id2label
    return values


def _read_json(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise ValueError(f"{path} must be there: it has the sizes of the model; fetch it")
    with map_file(path) as content:
        if len(content) > _MAX_BYTES:
            raise ValueError(f"{path} must be smaller than {_MAX_BYTES} bytes")
        return parse_object(content[:], str(path))


def _config(path: Path, fields: Mapping[str, Any]) -> BertConfig:
    """BertConfig of a file's fields, of which null is the same as absent."""
    given = {name: value for name, value in fields.items() if value is not None}
    try:
        return BertConfig(**_translated(given))
    except ValueError as error:
        raise ValueError(f"{path}: {str(error)[:_LONGEST_MESSAGE]}") from None


def _translated(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The same fields with our name of the activation."""
    if "hidden_act" not in fields:
        return dict(fields)
    activation = fields["hidden_act"]
    if not isinstance(activation, str) or activation not in _ACTIVATIONS:
        raise ValueError(
            f"hidden_act={quoted(str(activation))} must be one of "
            f"{', '.join(_ACTIVATIONS)}; no other activation is computed here"
        )
    return {**fields, "hidden_act": _ACTIVATIONS[activation]}
