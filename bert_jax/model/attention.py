"""Bidirectional self-attention.

Shapes: B batch, L length (Q queries, T keys), D hidden, H heads, K head size.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
from flax import nnx

from bert_jax.bert_config import BertConfig
from bert_jax.model.dropout import dropout

_PROBABILITY_SITE = 0


class Visibility(NamedTuple):
    """Which keys a query may see, in the form that kernels want: marks, not a matrix.

    Attributes:
        tokens: bool[B, L], True for tokens, False for padding.
        sequences: int32[B, L], which of the sequences packed in a row a token belongs
            to, 0 for padding; None where rows hold one sequence. Tokens see their own.
    """

    tokens: jax.Array
    sequences: jax.Array | None = None

    def mask(self) -> jax.Array:
        """bool[B, 1 or L, L], True where a query may see a key."""
        if self.sequences is None:
            return self.tokens[:, None, :]
        same_BQT = self.sequences[:, :, None] == self.sequences[:, None, :]
        return same_BQT & self.tokens[:, None, :]


class Attention(Protocol):
    """The one entry point for kernels: any callable of this form serves the model."""

    def __call__(
        self,
        query_BLHK: jax.Array,
        key_BLHK: jax.Array,
        value_BLHK: jax.Array,
        visible: Visibility,
        *,
        dropout_rate: float,
        dropout_seeds_B: jax.Array | None,
    ) -> jax.Array:
        """Returns the context, float[B, L, H, K]."""


def attention_probabilities(
    query_BLHK: jax.Array, key_BLHK: jax.Array, visible: Visibility
) -> jax.Array:
    """softmax(QKᵀ/√K), float32[B, H, Q, T]; even in a row that may see nothing."""
    scores_BHQT = jnp.einsum(
        "bqhk,bthk->bhqt", query_BLHK, key_BLHK, preferred_element_type=jnp.float32
    )
    scores_BHQT = scores_BHQT * (query_BLHK.shape[-1] ** -0.5)
    scores_BHQT = jnp.where(
        visible.mask()[:, None], scores_BHQT, jnp.finfo(jnp.float32).min
    )
    return jax.nn.softmax(scores_BHQT, axis=-1)


def plain_attention(
    query_BLHK: jax.Array,
    key_BLHK: jax.Array,
    value_BLHK: jax.Array,
    visible: Visibility,
    *,
    dropout_rate: float,
    dropout_seeds_B: jax.Array | None,
) -> jax.Array:
    """Attention in plain XLA operations, with dropout on the probabilities.

    Source: google-research/bert, modeling.py:attention_layer.
    """
    probabilities_BHQT = attention_probabilities(query_BLHK, key_BLHK, visible)
    probabilities_BHQT = dropout(
        probabilities_BHQT, dropout_rate, dropout_seeds_B, _PROBABILITY_SITE
    )
    return jnp.einsum(
        "bhqt,bthk->bqhk", probabilities_BHQT.astype(value_BLHK.dtype), value_BLHK
    )


class SelfAttention(nnx.Module):
    """Query, key and value from one matrix product, attention, output projection."""

    def __init__(
        self, config: BertConfig, *, dtype: jnp.dtype, rngs: nnx.Rngs, attention: Attention
    ):
        heads = (config.num_attention_heads, config.head_size)
        init = nnx.initializers.truncated_normal(config.initializer_range)
        self.qkv = nnx.LinearGeneral(
            config.hidden_size, (3, *heads), kernel_init=init, dtype=dtype, rngs=rngs
        )
        self.output = nnx.LinearGeneral(
            heads,
            config.hidden_size,
            axis=(-2, -1),
            kernel_init=init,
            dtype=dtype,
            rngs=rngs,
        )
        self.dropout_rate = config.attention_probs_dropout_prob
        self.attention = attention

    def __call__(
        self,
        hidden_BLD: jax.Array,
        visible: Visibility,
        *,
        dropout_seeds_B: jax.Array | None,
        with_probabilities: bool,
    ) -> tuple[jax.Array, jax.Array | None]:
        """Returns float[B, L, D] and, if asked, the probabilities float32[B, H, L, L]."""
        qkv_BL3HK = self.qkv(hidden_BLD)
        query_BLHK, key_BLHK, value_BLHK = (qkv_BL3HK[:, :, i] for i in range(3))
        context_BLHK = self.attention(
            query_BLHK,
            key_BLHK,
            value_BLHK,
            visible,
            dropout_rate=self.dropout_rate,
            dropout_seeds_B=dropout_seeds_B,
        )
        probabilities_BHQT = (
            attention_probabilities(query_BLHK, key_BLHK, visible)
            if with_probabilities
            else None
        )
        return self.output(context_BLHK), probabilities_BHQT
