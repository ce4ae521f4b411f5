"""The configuration of a run: frozen dataclasses, strictly read.

`Config.from_dict` is strict: an unknown key, a wrong type or an impossible value is
refused, all of them at once, each with its path, value, rule and remedy.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from typing import Any

from bert_jax.bert_config import BertConfig, named_size
from bert_jax.config_sections import (
    DataConfig,
    MeshConfig,
    ModelConfig,
    ObjectiveConfig,
    OptimConfig,
    TokenizerConfig,
    TrainConfig,
)
from bert_jax.mesh_conflicts import (
    axis_conflicts,
    batch_conflicts,
    known_sizes,
    model_conflicts,
)
from bert_jax.strict_fields import ConfigError as ConfigError
from bert_jax.strict_fields import build, field, plain

FORMAT_VERSION = 1
_NEED_A_PATH = {
    "text_files": "for example /texts/**/*.txt",
    "books_corpus": "a folder or an archive of .txt books (the BooksCorpus of the paper is "
    "no longer distributed; its open substitute is --config.data.sources=pg19)",
}


@dataclasses.dataclass(frozen=True)
class Config:
    """Everything that decides a run."""

    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    tokenizer: TokenizerConfig = dataclasses.field(default_factory=TokenizerConfig)
    objective: ObjectiveConfig = dataclasses.field(default_factory=ObjectiveConfig)
    optim: OptimConfig = dataclasses.field(default_factory=OptimConfig)
    mesh: MeshConfig = dataclasses.field(default_factory=MeshConfig)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    init_from: str = field(
        "",
        "model to go on from: folder, workdir or hub name; its tokenizer and its sizes are "
        "taken, the optimizer starts afresh",
    )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Config:
        """The configuration that nested `values` describe; what is absent is default.

        Raises:
            ConfigError: a key is unknown, or a value is of a wrong type or impossible;
                all such fields are named at once.
        """
        config, problems = build(cls, values)
        problems = problems or _source_conflicts(config.data) + _conflicts(config)
        if problems:
            raise ConfigError(problems)
        return typing.cast(Config, config)

    def to_dict(self) -> dict[str, Any]:
        """Nested plain values: `from_dict(to_dict())` gives an equal configuration."""
        return typing.cast(dict[str, Any], plain(self))

    @classmethod
    def from_json(cls, text: str) -> Config:
        """Reads what `to_json` wrote.

        Raises:
            ConfigError: not JSON, of another format, or an impossible value.
        """
        try:
            values = json.loads(text)
        except ValueError as error:
            raise ConfigError([f"the configuration is not JSON: {error}"]) from None
        if not isinstance(values, dict):
            raise ConfigError(["the configuration must be a JSON object"])
        version = values.pop("format_version") if "format_version" in values else None
        if version != FORMAT_VERSION:
            raise ConfigError(
                [
                    f"format_version={version!r} must be {FORMAT_VERSION}; it was written "
                    "by another version of bert_jax"
                ]
            )
        return cls.from_dict(values)

    def to_json(self) -> str:
        """The resolved configuration as JSON, with its format version."""
        return (
            json.dumps({"format_version": FORMAT_VERSION, **self.to_dict()}, indent=2)
            + "\n"
        )

    def bert_config(self, vocab_size: int) -> BertConfig:
        """The architecture to build for a vocabulary of `vocab_size` entries."""
        return BertConfig(
            vocab_size=vocab_size,
            hidden_dropout_prob=self.train.dropout_rate,
            attention_probs_dropout_prob=self.train.dropout_rate,
            **_architecture(self.model),
        )

    def divided_dims(self) -> dict[str, int]:
        """The sizes that a mesh divides; of the vocabulary where it is yet to be made."""
        bert = types.SimpleNamespace(**_architecture(self.model))
        names = ("num_attention_heads", "intermediate_size", "hidden_size")
        dims = {f"model.{name}": getattr(bert, name) for name in names}
        if not self.tokenizer.path and not self.init_from:
            vocabulary = BertConfig(vocab_size=self.tokenizer.vocab_size)
            dims["the padded vocabulary"] = vocabulary.padded_vocab_size
        return dims


def _architecture(model: ModelConfig) -> dict[str, Any]:
    """The fields of BertConfig that `model` decides, possible together or not."""
    given = {key: value for key, value in vars(model).items() if value is not None}
    del given["name"]
    return {**named_size(model.name), **given}


def _source_conflicts(data: DataConfig) -> list[str]:
    """Sources that cannot be opened as they are described."""
    problems = []
    for i, source in enumerate(data.sources):
        path = f"data.sources[{i}]"
        if not source.name:
            problems.append(f"{path}.name='' must be set; for example installed_docs")
        elif source.name in _NEED_A_PATH and not source.path:
            problems.append(
                f"{path}.path='' must be set for {source.name}; {_NEED_A_PATH[source.name]}"
            )
        elif source.name not in _NEED_A_PATH and source.path:
            problems.append(
                f"{path}.path={source.path!r} must be empty for {source.name}; only "
                f"{' and '.join(_NEED_A_PATH)} read a path"
            )
        if source.name != "text_files" and source.documents != "auto":
            problems.append(
                f"{path}.documents={source.documents!r} must be auto for {source.name}; "
                "only text_files is cut"
            )
    unweighted = [i for i, source in enumerate(data.sources) if source.weight is None]
    if 0 < len(unweighted) < len(data.sources):
        problems.append(
            f"data.sources[{unweighted[0]}].weight=None must be set, since other sources "
            "have one; give all of them a weight, or none"
        )
    return problems


def _conflicts(config: Config) -> list[str]:
    """Fields that are possible alone and impossible together."""
    problems = []
    data, optim, train, mesh = config.data, config.optim, config.train, config.mesh
    bert = types.SimpleNamespace(**_architecture(config.model))
    if config.init_from and train.start != "random":
        problems.append(
            f"train.start={train.start} must be random where init_from is set; the model "
            "to go on from is the start"
        )
    if optim.warmup_steps >= train.num_steps:
        problems.append(
            f"optim.warmup_steps={optim.warmup_steps} must be below "
            f"train.num_steps={train.num_steps}; lower it or train longer"
        )
    if bert.hidden_size % bert.num_attention_heads:
        problems.append(
            f"model.hidden_size={bert.hidden_size} must be a multiple of "
            f"model.num_attention_heads={bert.num_attention_heads}; change one of them"
        )
    if data.sequence_length > bert.max_position_embeddings:
        problems.append(
            f"data.sequence_length={data.sequence_length} must be at most "
            f"model.max_position_embeddings={bert.max_position_embeddings}; raise that"
        )
    if data.max_predictions_per_sequence > data.sequence_length - 3:
        problems.append(
            f"data.max_predictions_per_sequence={data.max_predictions_per_sequence} must "
            f"be at most data.sequence_length - 3 = {data.sequence_length - 3}; lower it"
        )
    sizes = known_sizes(mesh)
    problems += axis_conflicts(mesh)
    problems += model_conflicts(sizes, config.divided_dims())
    problems += batch_conflicts(sizes, data, train)
    return problems
