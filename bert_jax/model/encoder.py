"""Embeddings and the stack of transformer layers, post-LayerNorm as in 2018.

Shapes: B batch, L length, D hidden, F ffn, H heads, N layers, Q queries, T keys,
P positions.
The parameters of all layers are stacked: each array has a leading N.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from bert_jax.bert_config import BertConfig
from bert_jax.model.attention import Attention, SelfAttention, Visibility
from bert_jax.model.dropout import dropout
from bert_jax.random_bits import fold

# Sites of dropout: 0 is that of the attention probabilities.
_EMBEDDING_SITE, _ATTENTION_SITE, _FEED_FORWARD_SITE = 1, 2, 3

# gelu is the erf form of the published weights; the 2018 code computes the tanh form.
ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "gelu": functools.partial(jax.nn.gelu, approximate=False),
    "gelu_tanh": functools.partial(jax.nn.gelu, approximate=True),
}


# What is done to an activation between layers, given the letters of its dims ("BLD"). A
# model knows no mesh: who trains it over one passes in a function that says where the rows
# of a batch live.
Constrain = Callable[[jax.Array, str], jax.Array]

# What is done to the function of one layer: who trains a model says which of its values are
# kept for the backward pass, and which are computed again.
Remat = Callable[[Callable[..., Any]], Callable[..., Any]]


def unconstrained(activation: jax.Array, dims: str) -> jax.Array:
    """Leaves an activation where it is."""
    del dims
    return activation


def keep_everything(layer: Callable[..., Any]) -> Callable[..., Any]:
    """Leaves a layer as it is: nothing is computed again."""
    return layer


def make_layer_norm(
    config: BertConfig, *, dtype: jnp.dtype, rngs: nnx.Rngs
) -> nnx.LayerNorm:
    """LayerNorm with BERT's epsilon; statistics in float32 and in two passes."""
    return nnx.LayerNorm(
        config.hidden_size,
        epsilon=config.layer_norm_eps,
        use_fast_variance=False,
        dtype=dtype,
        rngs=rngs,
    )


class Embeddings(nnx.Module):
    """Word + position + segment embeddings, LayerNorm, dropout."""

    def __init__(self, config: BertConfig, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        make_table = functools.partial(
            nnx.Embed,
            features=config.hidden_size,
            embedding_init=nnx.initializers.truncated_normal(config.initializer_range),
            dtype=dtype,
            rngs=rngs,
        )
        self.word = make_table(config.padded_vocab_size)
        self.position = make_table(config.max_position_embeddings)
        self.token_type = make_table(config.type_vocab_size)
        self.norm = make_layer_norm(config, dtype=dtype, rngs=rngs)
        self.dropout_rate = config.hidden_dropout_prob
        self.pad_token_id = config.pad_token_id

    def __call__(
        self,
        input_ids_BL: jax.Array,
        token_type_ids_BL: jax.Array,
        position_ids_BL: jax.Array,
        *,
        dropout_seeds_B: jax.Array | None,
    ) -> jax.Array:
        """int32[B, L] three times → float[B, L, D].

        The padding's word vector gets no gradient from here, as in Transformers: it counts
        where a loss looks at padded places too.
        """
        words_BLD = self.word(input_ids_BL)
        is_pad_BL1 = (input_ids_BL == self.pad_token_id)[..., None]
        embedded_BLD = (
            jnp.where(is_pad_BL1, jax.lax.stop_gradient(words_BLD), words_BLD)
            + self.position(position_ids_BL)
            + self.token_type(token_type_ids_BL)
        )
        return dropout(
            self.norm(embedded_BLD), self.dropout_rate, dropout_seeds_B, _EMBEDDING_SITE
        )


def hidden_at(hidden_BLD: jax.Array, positions_BP: jax.Array | None) -> jax.Array:
    """float[B, P, D] of these positions; of all, float[B, L, D], where none are given."""
    if positions_BP is None:
        return hidden_BLD
    return jnp.take_along_axis(hidden_BLD, positions_BP[..., None], axis=1)


class EncoderLayer(nnx.Module):
    """Attention and feed-forward, each followed by dropout, residual sum, LayerNorm."""

    def __init__(
        self, config: BertConfig, *, dtype: jnp.dtype, rngs: nnx.Rngs, attention: Attention
    ):
        make_dense = functools.partial(
            nnx.Linear,
            kernel_init=nnx.initializers.truncated_normal(config.initializer_range),
            dtype=dtype,
            rngs=rngs,
        )
        self.attention = SelfAttention(config, dtype=dtype, rngs=rngs, attention=attention)
        self.attention_norm = make_layer_norm(config, dtype=dtype, rngs=rngs)
        self.feed_forward_in = make_dense(config.hidden_size, config.intermediate_size)
        self.feed_forward_out = make_dense(config.intermediate_size, config.hidden_size)
        self.feed_forward_norm = make_layer_norm(config, dtype=dtype, rngs=rngs)
        self.activation = config.hidden_act
        self.dropout_rate = config.hidden_dropout_prob

    def __call__(
        self,
        hidden_BLD: jax.Array,
        visible: Visibility,
        *,
        dropout_seeds_B: jax.Array | None,
        with_probabilities: bool = False,
    ) -> tuple[jax.Array, jax.Array | None]:
        """float[B, L, D] → float[B, L, D] and the attention probabilities, if asked."""
        attended_BLD, probabilities_BHQT = self.attention(
            hidden_BLD,
            visible,
            dropout_seeds_B=dropout_seeds_B,
            with_probabilities=with_probabilities,
        )
        attended_BLD = dropout(
            attended_BLD, self.dropout_rate, dropout_seeds_B, _ATTENTION_SITE
        )
        hidden_BLD = self.attention_norm(hidden_BLD + attended_BLD)
        inner_BLF = ACTIVATIONS[self.activation](self.feed_forward_in(hidden_BLD))
        output_BLD = dropout(
            self.feed_forward_out(inner_BLF),
            self.dropout_rate,
            dropout_seeds_B,
            _FEED_FORWARD_SITE,
        )
        return self.feed_forward_norm(hidden_BLD + output_BLD), probabilities_BHQT


class Encoder(nnx.Module):
    """N equal layers over stacked parameters, as one `lax.scan`."""

    def __init__(
        self,
        config: BertConfig,
        *,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
        attention: Attention,
        unroll: bool,
        constrain: Constrain,
        remat: Remat,
    ):
        @nnx.split_rngs(splits=config.num_hidden_layers)
        @nnx.vmap(in_axes=0, out_axes=0)
        def make_layers(rngs: nnx.Rngs) -> EncoderLayer:
            return EncoderLayer(config, dtype=dtype, rngs=rngs, attention=attention)

        self.layers = make_layers(rngs)
        self.num_layers = config.num_hidden_layers
        self.unroll = unroll
        self.constrain = constrain
        self.remat = remat

    def __call__(
        self,
        hidden_BLD: jax.Array,
        visible: Visibility,
        *,
        dropout_seeds_B: jax.Array | None,
        with_hidden_states: bool = False,
        with_probabilities: bool = False,
    ) -> tuple[jax.Array, jax.Array | None, jax.Array | None]:
        """Runs the stack.

        Returns:
            The last hidden state float[B, L, D]; if asked, the output of every layer
            float[N, B, L, D] and the attention probabilities float32[N, B, H, L, L].
        """
        graphdef, stacked = nnx.split(self.layers)

        def run_layer(
            hidden_BLD: jax.Array, layer: tuple[nnx.State, jax.Array]
        ) -> tuple[jax.Array, tuple[jax.Array | None, jax.Array | None]]:
            params, index = layer
            seeds_B = None if dropout_seeds_B is None else fold(index, dropout_seeds_B)
            hidden_BLD, probabilities_BHQT = nnx.merge(graphdef, params)(
                hidden_BLD,
                visible,
                dropout_seeds_B=seeds_B,
                with_probabilities=with_probabilities,
            )
            hidden_BLD = self.constrain(hidden_BLD, "BLD")
            return hidden_BLD, (
                hidden_BLD if with_hidden_states else None,
                probabilities_BHQT,
            )

        hidden_BLD, (hidden_NBLD, probabilities_NBHQT) = jax.lax.scan(
            self.remat(run_layer),
            hidden_BLD,
            (stacked, jnp.arange(1, self.num_layers + 1)),
            unroll=self.num_layers if self.unroll else 1,
        )
        return hidden_BLD, hidden_NBLD, probabilities_NBHQT
