"""The architecture of one BERT.

Known without JAX: a configuration is checked before JAX is imported.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from typing import Any

ACTIVATIONS = ("gelu", "gelu_tanh")
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
        return cls(**{**named_size(name), **fields})

    @property
    def head_size(self) -> int:
        """Units of one attention head."""
        return self.hidden_size // self.num_attention_heads

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
