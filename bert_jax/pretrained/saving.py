"""A model as files that Transformers reads."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from flax import nnx

from bert_jax.bert_config import BertConfig
from bert_jax.formats.safetensors_files import write_safetensors
from bert_jax.pretrained.config_files import hugging_face_config
from bert_jax.pretrained.hugging_face_names import hugging_face_arrays
from bert_jax.pretrained.trees import flat_arrays

WEIGHTS_NAME = "model.safetensors"
CONFIG_NAME = "config.json"
VERSION_KEY, FORMAT_VERSION = "bert_jax_format_version", "1"
# What Transformers wants to read in a file of weights, and the version of our own form.
METADATA = {"format": "pt", VERSION_KEY: FORMAT_VERSION}


def state_dict(model: Any) -> dict[str, np.ndarray]:
    """The weights of a model, on the host, under the names of Transformers.

    Args:
        model: any of the networks, on any mesh of this process.

    Returns:
        name → float32 array. The padding of the vocabulary is left out, and so is the
        decoder of masked words, which is the word embedding.
    """
    flat = flat_arrays(nnx.to_pure_dict(nnx.state(model, nnx.Param)))
    is_encoder = not any(path.startswith("bert/") for path in flat)
    if is_encoder:
        flat = {f"bert/{path}": array for path, array in flat.items()}
    arrays = hugging_face_arrays(flat, model.config)
    if is_encoder:  # Transformers has no prefix there either
        arrays = {name.removeprefix("bert."): array for name, array in arrays.items()}
    return arrays


def save_model(model: Any, architecture: str, directory: Path) -> None:
    """Writes `config.json` and `model.safetensors`, each as a whole or not at all.

    Args:
        model: any of the networks.
        architecture: name of its class in Transformers.
        directory: where to; made if absent.
    """
    directory.mkdir(parents=True, exist_ok=True)
    write_safetensors(directory / WEIGHTS_NAME, state_dict(model), METADATA)
    save_config(model.config, directory, architecture)


def save_config(config: BertConfig, directory: Path, architecture: str = "") -> None:
    """Writes `config.json`, as a whole or not at all.

    Args:
        config: of a model.
        directory: where to; made if absent.
        architecture: name of the model's class in Transformers, if it has one.
    """
    directory.mkdir(parents=True, exist_ok=True)
    values = hugging_face_config(config, architecture)
    path = directory / CONFIG_NAME
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        draft.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
