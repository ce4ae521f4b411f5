"""Pretrain, fine-tune and reuse BERT in JAX.

Importing this package imports neither JAX nor Flax: a public name is resolved when it
is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from bert_jax.bert_config import BertConfig as BertConfig
    from bert_jax.config import Config as Config
    from bert_jax.pretrained.classes import BertForMaskedLM as BertForMaskedLM
    from bert_jax.pretrained.classes import BertForMultipleChoice as BertForMultipleChoice
    from bert_jax.pretrained.classes import (
        BertForNextSentencePrediction as BertForNextSentencePrediction,
    )
    from bert_jax.pretrained.classes import BertForPreTraining as BertForPreTraining
    from bert_jax.pretrained.classes import (
        BertForQuestionAnswering as BertForQuestionAnswering,
    )
    from bert_jax.pretrained.classes import (
        BertForSequenceClassification as BertForSequenceClassification,
    )
    from bert_jax.pretrained.classes import (
        BertForTokenClassification as BertForTokenClassification,
    )
    from bert_jax.pretrained.classes import BertModel as BertModel
    from bert_jax.text.bert_tokenizer import BertTokenizer as BertTokenizer

# Public name -> module that defines it. A test holds the imports above to this table.
_MODULES = {
    "BertConfig": "bert_jax.bert_config",
    "BertForMaskedLM": "bert_jax.pretrained.classes",
    "BertForMultipleChoice": "bert_jax.pretrained.classes",
    "BertForNextSentencePrediction": "bert_jax.pretrained.classes",
    "BertForPreTraining": "bert_jax.pretrained.classes",
    "BertForQuestionAnswering": "bert_jax.pretrained.classes",
    "BertForSequenceClassification": "bert_jax.pretrained.classes",
    "BertForTokenClassification": "bert_jax.pretrained.classes",
    "BertModel": "bert_jax.pretrained.classes",
    "BertTokenizer": "bert_jax.text.bert_tokenizer",
    "Config": "bert_jax.config",
}

__all__ = [
    "BertConfig",
    "BertForMaskedLM",
    "BertForMultipleChoice",
    "BertForNextSentencePrediction",
    "BertForPreTraining",
    "BertForQuestionAnswering",
    "BertForSequenceClassification",
    "BertForTokenClassification",
    "BertModel",
    "BertTokenizer",
    "Config",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
