"""The architecture of one BERT.

Known without JAX: a configuration is checked before JAX is imported. Only reading and
writing a model's files goes upstairs, when it is called.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ACTIVATIONS = ("gelu", "gelu_tanh")
PROBLEM_TYPES = ("regression", "single_label_classification", "multi_label_classification")
_SIZES = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
    "type_vocab_size",
    "num_labels",
)
_LARGEST_SIZE = 2**24
_FRACTIONS = (
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "classifier_dropout",
    "initializer_range",
    "layer_norm_eps",
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


class LabelNames(Mapping[int, str]):
    """Names of labels by their number: a dict to read, and hashable.

    Args:
        names: the name of label 0, 1, ….
    """

    def __init__(self, names: Sequence[str]):
        self._names = tuple(names)

    @classmethod
    def numbered(cls, count: int) -> LabelNames:
        """LABEL_0, LABEL_1, …: the names of labels that have none."""
        return cls([f"LABEL_{i}" for i in range(count)])

    @classmethod
    def read(cls, names: Any) -> LabelNames:
        """Names from a list or from a dict, whose keys may be strings as JSON has them.

        Raises:
            ValueError: the labels are not numbered 0, 1, …, or a name is no text or number.
        """
        listing = names if isinstance(names, Mapping | list | tuple) else ()
        pairs = dict(listing) if isinstance(listing, Mapping) else dict(enumerate(listing))
        by_number = {str(number): name for number, name in pairs.items()}
        listed = [by_number[str(i)] for i in range(len(pairs)) if str(i) in by_number]
        readable = all(isinstance(name, str | int) for name in listed)
        if not listed or len(listed) < len(pairs) or not readable:
            raise ValueError(
                f"id2label={str(names)[:80]!r} must give each of the labels 0, 1, … a name"
            )
        return cls([str(name) for name in listed])

    def __getitem__(self, number: int) -> str:
        if number not in range(len(self._names)):
            raise KeyError(number)
        return self._names[number]

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self._names)))

    def __len__(self) -> int:
        return len(self._names)

    def __hash__(self) -> int:
        return hash(self._names)

    def __repr__(self) -> str:
        return repr(dict(self))


@dataclasses.dataclass(frozen=True)
class BertConfig:
    """The architecture of one BERT, with BERT's own field names.

    The last four fields concern the heads for classification only. `id2label` may be given
    as a dict or a list; labels without names are LABEL_0, LABEL_1, …. `problem_type` None:
    from the labels; `classifier_dropout` None: as `hidden_dropout_prob`.

    Source: google-research/bert, modeling.py:BertConfig; Transformers for the heads.
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
    num_labels: int = 2
    id2label: Mapping[int, str] = LabelNames.numbered(2)
    problem_type: str | None = None
    classifier_dropout: float | None = None

    def __post_init__(self) -> None:
        """Raises ValueError where no such network can be."""
        for name in _SIZES:
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= _LARGEST_SIZE:
                raise ValueError(
                    f"{name}={value!r} must be a whole number, at least 1 and at most "
                    f"{_LARGEST_SIZE}"
                )
        for name in _FRACTIONS:
            value = getattr(self, name)
            if name == "classifier_dropout" and value is None:
                continue
            if not (isinstance(value, int | float) and 0 <= value < 1):
                raise ValueError(f"{name}={value!r} must be at least 0 and below 1")
        is_id = type(self.pad_token_id) is int
        if not is_id or not 0 <= self.pad_token_id < self.vocab_size:
            raise ValueError(
                f"pad_token_id={self.pad_token_id!r} must be at least 0 and below "
                f"vocab_size={self.vocab_size}"
            )
        if self.hidden_act not in ACTIVATIONS:
            raise ValueError(
                f"hidden_act={self.hidden_act!r} must be one of {', '.join(ACTIVATIONS)}"
            )
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size={self.hidden_size} must be a multiple of "
                f"num_attention_heads={self.num_attention_heads}; change one of them"
            )
        object.__setattr__(self, "id2label", self._checked_labels())

    def _checked_labels(self) -> LabelNames:
        """The names of the labels; ValueError where the heads' fields contradict."""
        if self.problem_type not in (None, *PROBLEM_TYPES):
            raise ValueError(
                f"problem_type={self.problem_type!r} must be one of "
                f"{', '.join(PROBLEM_TYPES)}, or None"
            )
        if self.problem_type == "single_label_classification" and self.num_labels == 1:
            raise ValueError(
                "num_labels=1 must be at least 2 for single_label_classification; one "
                "number a text is problem_type='regression'"
            )
        names = LabelNames.read(self.id2label)
        if len(names) == self.num_labels:
            return names
        if names == LabelNames.numbered(len(names)):  # nobody chose these names
            return LabelNames.numbered(self.num_labels)
        raise ValueError(
            f"num_labels={self.num_labels} must be the number of names in id2label, "
            f"{len(names)}; give both"
        )

    @classmethod
    def named(cls, name: str, **fields: Any) -> BertConfig:
        """The architecture called `name` (tiny … large), with `fields` replaced."""
        if name not in MODEL_SIZES:
            raise ValueError(f"model.name={name!r} must be one of {', '.join(MODEL_SIZES)}")
        return cls(**{**named_size(name), **fields})

    @classmethod
    def from_pretrained(cls, path: str | Path, **overrides: Any) -> BertConfig:
        """The architecture of a model, without its weights.

        Args:
            path: as for `BertModel.from_pretrained`; or a folder with `config.json` or
                `bert_config.json` alone, or such a file.
            **overrides: other values of fields, as for `BertModel.from_pretrained`.

        Raises:
            ValueError: there is no such model or field, or a value is impossible.
        """
        from bert_jax.pretrained.config_files import replaced
        from bert_jax.pretrained.sources import config_of

        return replaced(config_of(path), overrides)

    def save_pretrained(self, directory: str | Path) -> None:
        """Writes `config.json` as Transformers reads it; makes the directory if absent."""
        from bert_jax.pretrained.saving import save_config

        save_config(self, Path(directory))

    @property
    def head_size(self) -> int:
        """Units of one attention head."""
        return self.hidden_size // self.num_attention_heads

    @property
    def label2id(self) -> dict[str, int]:
        """Numbers of labels by their name: the inverse of `id2label`."""
        return {name: number for number, name in self.id2label.items()}

    @property
    def padded_vocab_size(self) -> int:
        """Rows of the embedding table: `vocab_size` rounded up to a multiple of 128."""
        return -(-self.vocab_size // 128) * 128


def named_size(name: str) -> dict[str, int]:
    """The fields of BertConfig that the name of a size stands for."""
    num_hidden_layers, hidden_size = MODEL_SIZES[name]
    return {
        "num_hidden_layers": num_hidden_layers,
        "hidden_size": hidden_size,
        "num_attention_heads": hidden_size // 64,
        "intermediate_size": 4 * hidden_size,
    }
