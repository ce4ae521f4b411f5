"""Going on from a published model: its sizes, its tokenizer, its weights."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh

from bert_jax.bert_config import BertConfig
from bert_jax.config import Config
from bert_jax.config_sections import ModelConfig
from bert_jax.data.manifest import FILE_NAME
from bert_jax.data.prepare import data_settings
from bert_jax.formats.orbax import newest_record
from bert_jax.pretrained.classes import BertForPreTraining
from bert_jax.pretrained.sources import open_source, tokenizer_folder
from bert_jax.text.tokenizer import load_tokenizer
from bert_jax.train.checkpoint import CHECKPOINTS

# Fields of BertConfig that a configuration takes over under the same names.
_MODEL_FIELDS = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
    "hidden_act",
    "initializer_range",
    "layer_norm_eps",
)


def adopt(config: Config) -> Config:
    """The configuration with sizes and tokenizer of the model that it starts from.

    Raises:
        ValueError: there is no such model, it has one segment only, or it does not fit
            the rest of the configuration.
    """
    if not config.init_from:
        return config
    model = open_source(config.init_from).config
    if model.type_vocab_size != 2:
        raise ValueError(
            f"init_from={config.init_from} has type_vocab_size={model.type_vocab_size}; it "
            "must be 2, since a row of pretraining has two segments"
        )
    _check_sizes(config, model)
    values = config.to_dict()
    values["model"] |= {name: getattr(model, name) for name in _MODEL_FIELDS}
    folder = tokenizer_folder(config.init_from)
    tokenizer = load_tokenizer(folder)
    values["tokenizer"] |= {
        "path": str(folder),
        "kind": tokenizer.kind,
        "vocab_size": tokenizer.vocab_size,
        "lowercase": tokenizer.lowercase,
        "strip_accents": tokenizer.strip_accents,
    }
    return _with_data_of_run(values, config) or Config.from_dict(values)


def _check_sizes(config: Config, model: BertConfig | ModelConfig) -> None:
    """Raises ValueError where the configuration asks for other sizes than the model's."""
    asked, default = config.model, ModelConfig()
    for name in _MODEL_FIELDS:
        ours, theirs = getattr(asked, name), getattr(model, name)
        if ours not in (theirs, getattr(default, name)):
            raise ValueError(
                f"model.{name}={ours} must be {theirs}, as the model of "
                f"init_from={config.init_from} has it; leave it out"
            )


def _with_data_of_run(values: dict[str, Any], config: Config) -> Config | None:
    """The configuration over the prepared data of the run that it starts from.

    A second phase, with longer rows say, has the sources and the vocabulary of the first:
    its shards serve as they are.

    Args:
        values: the configuration with sizes and tokenizer of its model.
        config: the configuration as it was given.

    Returns:
        None if the model is no run's, or the data are others.
    """
    run = newest_record(Path(config.init_from) / CHECKPOINTS)
    if run is None or config.data.directory:
        return None
    before = Config.from_dict(run[1]["config"])
    data = {**values["data"], "directory": before.data.directory}
    tokenizer = dataclasses.asdict(before.tokenizer)
    shared = Config.from_dict({**values, "data": data, "tokenizer": tokenizer})
    same = data_settings(shared) == data_settings(before)
    return shared if same and (Path(before.data.directory) / FILE_NAME).is_file() else None


def keep_adopted(config: Config, before: Config) -> Config:
    """The configuration with what the run took over when it began; the model may be gone.

    Args:
        config: as given now.
        before: as the run was started.

    Raises:
        ValueError: the configuration asks for other sizes than the run's.
    """
    if not config.init_from or config.init_from != before.init_from:
        return config
    _check_sizes(config, before.model)
    return dataclasses.replace(config, model=before.model, tokenizer=before.tokenizer)


def adopted_params(config: Config, vocab_size: int, mesh: Mesh) -> Any:
    """The parameters of the model that a run starts from, float32, in their shards.

    Heads that it lacks are at a random start, with a warning.

    Args:
        config: after `adopt`.
        vocab_size: entries of the run's tokenizer.
        mesh: where the parameters live.

    Raises:
        ValueError: the model has fewer or far more words than the tokenizer has entries.
    """
    model = BertForPreTraining.from_pretrained(
        Path(config.init_from) if Path(config.init_from).exists() else config.init_from,
        dtype=jnp.float32,
        mesh=mesh,
    )
    ours = config.bert_config(vocab_size).padded_vocab_size
    if model.config.vocab_size < vocab_size or model.config.padded_vocab_size != ours:
        raise ValueError(
            f"init_from={config.init_from} has {model.config.vocab_size} words and its "
            f"tokenizer {vocab_size} entries; they must belong together"
        )
    params = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    return jax.tree.map(lambda x: x.astype(jnp.float32), params)
