"""The configuration of a run: frozen dataclasses, the only place where defaults live.

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

from bert_jax.strict_fields import ConfigError as ConfigError
from bert_jax.strict_fields import build, plain
from bert_jax.strict_fields import field as _field

FORMAT_VERSION = 1
ACTIVATIONS = ("gelu", "gelu_tanh")
_NOT_EMPTY = (r".+", "a name")
_SIZES = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
    "type_vocab_size",
)


# Sizes of Turc et al. 2019 (https://arxiv.org/abs/1908.08962) and Devlin et al. 2018:
# name -> (num_hidden_layers, hidden_size); 64 units a head, feed-forward 4 x hidden.
MODEL_SIZES: Mapping[str, tuple[int, int]] = types.MappingProxyType(
    {
        "tiny": (2, 128),
        "mini": (4, 256),
        "small": (4, 512),
        "medium": (8, 512),
        "base": (12, 768),
        "large": (24, 1024),
    }
)


@dataclasses.dataclass(frozen=True)
class BertConfig:
    """The architecture of one BERT, with BERT's own field names.

    Source: google-research/bert, modeling.py:BertConfig.
    Differs: `layer_norm_eps` is a field (1e-12, which the 2018 code hard-codes).
    """

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    pad_token_id: int = 0

    def __post_init__(self) -> None:
        """Raises ValueError where no such network can be."""
        for name in _SIZES:
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise ValueError(f"{name}={value!r} must be a whole number, at least 1")
        for name in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
            value = getattr(self, name)
            if not (isinstance(value, int | float) and 0 <= value < 1):
                raise ValueError(f"{name}={value!r} must be at least 0 and below 1")
        if self.hidden_act not in ACTIVATIONS:
            raise ValueError(
                f"hidden_act={self.hidden_act!r} must be one of {', '.join(ACTIVATIONS)}"
            )
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size={self.hidden_size} must be a multiple of "
                f"num_attention_heads={self.num_attention_heads}; change one of them"
            )

    @classmethod
    def named(cls, name: str, **fields: Any) -> BertConfig:
        """The architecture called `name` (tiny … large), with `fields` replaced."""
        if name not in MODEL_SIZES:
            raise ValueError(f"model.name={name!r} must be one of {', '.join(MODEL_SIZES)}")
        return cls(**{**_named_size(name), **fields})

    @property
    def head_size(self) -> int:
        """Units of one attention head."""
        return self.hidden_size // self.num_attention_heads

    @property
    def padded_vocab_size(self) -> int:
        """Rows of the embedding table: `vocab_size` rounded up to a multiple of 128."""
        return -(-self.vocab_size // 128) * 128


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """What to build. A field left at None takes the value that `name` stands for."""

    name: str = _field("base", "size of the model", choices=tuple(MODEL_SIZES))
    hidden_size: int | None = _field(None, "units of the residual stream", low=1)
    num_hidden_layers: int | None = _field(None, "transformer layers", low=1)
    num_attention_heads: int | None = _field(None, "heads of each layer", low=1)
    intermediate_size: int | None = _field(None, "units of the feed-forward layer", low=1)
    max_position_embeddings: int = _field(512, "longest sequence the model can take", low=8)
    hidden_act: str = _field(
        "gelu",
        "activation: gelu is the erf form, gelu_tanh that of the 2018 code",
        choices=ACTIVATIONS,
    )
    initializer_range: float = _field(
        0.02, "spread of the initial weights", above=0.0, high=1.0
    )
    layer_norm_eps: float = _field(1e-12, "epsilon of LayerNorm", low=1e-30, below=1.0)


@dataclasses.dataclass(frozen=True)
class SourceConfig:
    """One source of text."""

    name: str = _field("", "installed_docs, text_files, or a TFDS dataset such as pg19")
    split: str = _field("train", "split of the dataset to train on", pattern=_NOT_EMPTY)
    feature: str = _field(
        "text", "feature of the dataset that holds the text", pattern=_NOT_EMPTY
    )
    path: str = _field("", "for text_files: a glob of files, such as /texts/**/*.txt")
    documents: str = _field(
        "auto",
        "for text_files, where plain text is cut into documents: at blank_lines; not at "
        "all, each file is one; auto: at blank lines if each line is a sentence or each "
        "block one line, else (wrapped paragraphs, books) each file is one",
        choices=("auto", "blank_lines", "file"),
    )


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Text in, batches out."""

    sources: tuple[SourceConfig, ...] = _field(
        (SourceConfig("installed_docs"),),
        "list of sources {name, split, feature, path, documents}; a bare name is one, too",
    )
    directory: str = _field(
        "", "where prepared data lie; empty: a folder of the cache named after the config"
    )
    eval_fraction: float = _field(
        0.02,
        "share of titles held out, for sources without a validation split",
        above=0.0,
        high=0.5,
    )
    language: str = _field(
        "en",
        "language of the text, for the sentence splitter",
        pattern=(r"[a-z]{2,3}(-[a-z]+)*", "a language code such as en"),
    )
    encoding_errors: str = _field(
        "replace",
        "bytes that are not UTF-8: replace and count them, or refuse the file",
        choices=("replace", "refuse"),
    )
    sequence_length: int = _field(128, "tokens in a row, [CLS] and [SEP] included", low=8)
    max_predictions_per_sequence: int = _field(20, "most masked tokens in a row", low=1)
    short_sequence_rate: float = _field(
        0.1, "share of examples made shorter on purpose (2018 recipe)", low=0.0, high=1.0
    )
    seed: int = _field(0, "seed of pairs and of their order", low=0, high=2**31 - 1)


@dataclasses.dataclass(frozen=True)
class TokenizerConfig:
    """How words become ids."""

    kind: str = _field(
        "wordpiece", "kind of vocabulary", choices=("wordpiece", "sentencepiece")
    )
    vocab_size: int = _field(30522, "entries of a vocabulary to train", low=64, high=2**21)
    path: str = _field("", "use this tokenizer (folder or vocab.txt) and train none")
    lowercase: bool = _field(True, "fold case")
    strip_accents: bool = _field(True, "drop accents (only when lowercase)")


@dataclasses.dataclass(frozen=True)
class ObjectiveConfig:
    """What the model learns to predict."""

    mask_rate: float = _field(0.15, "share of tokens to predict", above=0.0, below=1.0)


@dataclasses.dataclass(frozen=True)
class OptimConfig:
    """The optimizer and its learning rate."""

    name: str = _field(
        "bert_adamw",
        "bert_adamw: the 2018 optimizer, no bias correction; adamw: bias-corrected",
        choices=("bert_adamw", "adamw"),
    )
    learning_rate: float = _field(1e-4, "peak learning rate", above=0.0, high=10.0)
    warmup_steps: int = _field(10_000, "steps of linear warm-up", low=0)
    weight_decay: float = _field(0.01, "decoupled weight decay", low=0.0)
    clip_norm: float = _field(1.0, "largest global norm of the gradient", above=0.0)
    beta1: float = _field(0.9, "decay of the first moment", low=0.0, below=1.0)
    beta2: float = _field(0.999, "decay of the second moment", low=0.0, below=1.0)
    epsilon: float = _field(
        1e-6, "added to the root of the second moment", low=1e-30, below=1.0
    )


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """How devices are arranged; −1 on one axis takes all devices that are left."""

    data: int = _field(-1, "copies of the model, each with its part of the batch", low=-1)
    fsdp: int = _field(1, "parts of each parameter, gathered where it is used", low=-1)
    tensor: int = _field(1, "parts of each layer's heads and feed-forward units", low=-1)
    sequence: int = _field(1, "parts of each sequence", low=1, high=1)


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """The run itself."""

    num_steps: int = _field(1_000_000, "updates in the whole run", low=1, high=2**31 - 1)
    global_batch_size: int = _field(256, "rows in a batch, over all devices", low=1)
    start: str = _field(
        "random",
        "weights to begin with; random: as in 2018; informed: scores of words begin at "
        "their frequency and attention on neighbours, which spares a short run a plateau",
        choices=("random", "informed"),
    )
    seed: int = _field(0, "seed of weights, masks and dropout", low=0, high=2**31 - 1)
    dtype: str = _field(
        "float32",
        "numbers the model computes in; parameters are always float32",
        choices=("float32", "bfloat16"),
    )
    dropout_rate: float = _field(0.1, "dropout everywhere in the model", low=0.0, below=1.0)
    log_every_steps: int = _field(100, "steps between two logged rows", low=1)
    eval_every_steps: int = _field(10_000, "steps between two evaluations", low=1)
    eval_batches: int = _field(32, "held-out batches of one evaluation", low=1)
    save_every_steps: int = _field(10_000, "steps between two checkpoints", low=1)
    keep_checkpoints: int = _field(3, "newest checkpoints to keep", low=1)


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
        version = values.pop("format_version", FORMAT_VERSION)
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


def _named_size(name: str) -> dict[str, int]:
    """The fields of BertConfig that the name of a size stands for."""
    num_hidden_layers, hidden_size = MODEL_SIZES[name]
    return {
        "num_hidden_layers": num_hidden_layers,
        "hidden_size": hidden_size,
        "num_attention_heads": hidden_size // 64,
        "intermediate_size": 4 * hidden_size,
    }


def _architecture(model: ModelConfig) -> dict[str, Any]:
    """The fields of BertConfig that `model` decides, possible together or not."""
    given = {key: value for key, value in vars(model).items() if value is not None}
    del given["name"]
    return {**_named_size(model.name), **given}


def _source_conflicts(data: DataConfig) -> list[str]:
    """Sources that cannot be opened as they are described."""
    problems = []
    for i, source in enumerate(data.sources):
        path = f"data.sources[{i}]"
        if not source.name:
            problems.append(f"{path}.name='' must be set; for example installed_docs")
        elif source.name == "text_files" and not source.path:
            problems.append(
                f"{path}.path='' must be set for text_files; for example /texts/**/*.txt"
            )
        elif source.name != "text_files" and source.path:
            problems.append(
                f"{path}.path={source.path!r} must be empty for {source.name}; only "
                "text_files reads a path"
            )
        if source.name != "text_files" and source.documents != "auto":
            problems.append(
                f"{path}.documents={source.documents!r} must be auto for {source.name}; "
                "only text_files is cut"
            )
    return problems


def _conflicts(config: Config) -> list[str]:
    """Fields that are possible alone and impossible together."""
    problems = []
    data, optim, train, mesh = config.data, config.optim, config.train, config.mesh
    bert = types.SimpleNamespace(**_architecture(config.model))
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
    axes = {"data": mesh.data, "fsdp": mesh.fsdp, "tensor": mesh.tensor}
    problems += [
        f"mesh.{axis}=0 must be at least 1, or -1" for axis, n in axes.items() if n == 0
    ]
    if sum(n == -1 for n in axes.values()) > 1:
        problems.append("mesh: only one axis can be -1; give the others a number")
    for name in ("num_attention_heads", "intermediate_size"):
        if mesh.tensor > 0 and getattr(bert, name) % mesh.tensor:
            problems.append(
                f"mesh.tensor={mesh.tensor} must divide "
                f"model.{name}={getattr(bert, name)}; lower it"
            )
    rows = max(mesh.data, 1) * max(mesh.fsdp, 1)
    if train.global_batch_size % rows:
        problems.append(
            f"train.global_batch_size={train.global_batch_size} must be a multiple of "
            f"mesh.data x mesh.fsdp = {rows}; the nearest is "
            f"{max(1, round(train.global_batch_size / rows)) * rows}"
        )
    return problems
