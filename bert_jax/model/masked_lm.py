"""The head that predicts masked words.

Shapes: B batch, L length, P predictions, D hidden, V vocabulary.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx

from bert_jax.bert_config import BertConfig
from bert_jax.model.encoder import ACTIVATIONS, Constrain, make_layer_norm, unconstrained


class MaskedLanguageModelHead(nnx.Module):
    """Dense, GELU, LayerNorm, then the word embeddings as a decoder with its own bias."""

    def __init__(
        self,
        config: BertConfig,
        *,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
        constrain: Constrain = unconstrained,
    ):
        self.transform = nnx.Linear(
            config.hidden_size,
            config.hidden_size,
            kernel_init=nnx.initializers.truncated_normal(config.initializer_range),
            dtype=dtype,
            rngs=rngs,
        )
        self.norm = make_layer_norm(config, dtype=dtype, rngs=rngs)
        self.bias = nnx.Param(jnp.zeros(config.padded_vocab_size))
        self.activation = config.hidden_act
        self.vocab_size = config.vocab_size
        self.constrain = constrain

    def __call__(self, hidden_BPD: jax.Array, word: nnx.Embed) -> jax.Array:
        """float[B, P, D] → float32[B, P, vocab_size]; the table's padding is cut off."""
        hidden_BPD = ACTIVATIONS[self.activation](self.transform(hidden_BPD))
        hidden_BPD = self.norm(self.constrain(hidden_BPD, "BPD"))
        logits_BPV = jnp.einsum(
            "bpd,vd->bpv",
            hidden_BPD,
            word.embedding[...].astype(hidden_BPD.dtype),
            preferred_element_type=jnp.float32,
        )
        return (logits_BPV + self.bias[...])[..., : self.vocab_size]
