"""Small models that the tests of the network share."""

from __future__ import annotations

import pytest
from flax import nnx

from bert_jax.bert_config import BertConfig
from bert_jax.model.pretraining import BertForPreTraining

SMALL = BertConfig(
    vocab_size=83,
    hidden_size=24,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=40,
    max_position_embeddings=20,
)


@pytest.fixture(scope="session")
def small_config() -> BertConfig:
    """Two layers, vocabulary 83 in a table of 128 rows, dropout 0.1."""
    return SMALL


@pytest.fixture(scope="module")
def small_model() -> BertForPreTraining:
    return BertForPreTraining(SMALL, rngs=nnx.Rngs(0))
