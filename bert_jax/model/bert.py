"""BERT: the encoder with its pooler.

Shapes: B batch, L length, D hidden.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import ArrayLike

from bert_jax.bert_config import BertConfig
from bert_jax.model.attention import Attention, Visibility, plain_attention
from bert_jax.model.encoder import (
    Constrain,
    Embeddings,
    Encoder,
    Remat,
    hidden_at,
    keep_everything,
    unconstrained,
)
from bert_jax.model.inputs import check_ids
from bert_jax.model.outputs import BertModelOutput


class BertModel(nnx.Module):
    """The encoder: token ids in, contextual vectors out.

    An ordinary Flax NNX module without random state: dropout happens exactly when the
    caller gives seeds for it.

    Args:
        config: the architecture.
        dtype: numbers to compute in; parameters are float32.
        rngs: where the initial weights are drawn from; `nnx.Rngs(0)`.
        attention: the attention to use; plain XLA by default.
        unroll: whether to unroll the loop over layers, faster on a CPU and slower to
            compile; by default on CPUs only.
        constrain: applied to float[B, …] and the letters of its dims after the
            embeddings, after each layer and before the heads; for training over a mesh,
            where it says that each device keeps its own rows.
        remat: applied to the function of a layer; `jax.checkpoint` to spare memory in
            training.
        add_pooling_layer: whether to have the dense layer on the first token.

    Source: Devlin et al. 2018; google-research/bert, modeling.py:BertModel.
    """

    def __init__(
        self,
        config: BertConfig,
        *,
        dtype: jnp.dtype = jnp.float32,
        rngs: nnx.Rngs,
        attention: Attention = plain_attention,
        unroll: bool | None = None,
        constrain: Constrain = unconstrained,
        remat: Remat = keep_everything,
        add_pooling_layer: bool = True,
    ):
        if unroll is None:
            unroll = jax.default_backend() == "cpu"
        self.config = config
        self.embeddings = Embeddings(config, dtype=dtype, rngs=rngs)
        self.encoder = Encoder(
            config,
            dtype=dtype,
            rngs=rngs,
            attention=attention,
            unroll=unroll,
            constrain=constrain,
            remat=remat,
        )
        self.constrain = constrain
        self.pooler = (
            nnx.Linear(
                config.hidden_size,
                config.hidden_size,
                kernel_init=nnx.initializers.truncated_normal(config.initializer_range),
                dtype=dtype,
                rngs=rngs,
            )
            if add_pooling_layer
            else None
        )

    def __call__(
        self,
        input_ids: ArrayLike,
        attention_mask: ArrayLike | None = None,
        token_type_ids: ArrayLike | None = None,
        position_ids: ArrayLike | None = None,
        *,
        sequence_ids: ArrayLike | None = None,
        sequence_starts: ArrayLike | None = None,
        dropout_seeds: jax.Array | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
    ) -> BertModelOutput:
        """Encodes a batch.

        Args:
            input_ids: int32[B, L], ids in [0, vocab_size).
            attention_mask: int or bool[B, L], nonzero for tokens; all by default.
            token_type_ids: int32[B, L], segment of each token; 0 by default.
            position_ids: int32[B, L], in [0, max_position_embeddings); 0 … L−1 by default.
            sequence_ids: int32[B, L], for rows in which several sequences are packed:
                which one a token belongs to, from 1, and 0 for padding; it sees that one
                alone. Give `position_ids` too, which begin again in each.
            sequence_starts: int32[B, S], places whose vectors are pooled, one for each
                packed sequence: `pooler_output` is then float[B, S, D]. By default the
                first place, and float[B, D].
            dropout_seeds: uint32[B], one seed a row; None for no dropout.
            output_hidden_states: whether to return every layer's output.
            output_attentions: whether to return the attention probabilities.

        Raises:
            ValueError: `input_ids` is no table of rows, its rows are longer than
                `max_position_embeddings`, or an id that is on the host is impossible.
        """
        check_ids(self.config, input_ids, token_type_ids, position_ids)
        ids_BL = jnp.asarray(input_ids)
        if ids_BL.ndim != 2:
            raise ValueError(
                f"input_ids has shape {ids_BL.shape}; it must be (rows, tokens); put a "
                "single text into a list"
            )
        length = ids_BL.shape[-1]
        if length > self.config.max_position_embeddings:
            raise ValueError(
                f"input_ids has {length} tokens in a row; it must be at most "
                f"max_position_embeddings={self.config.max_position_embeddings}; truncate"
            )
        mask_BL = attention_mask
        if mask_BL is None:
            mask_BL = jnp.ones_like(ids_BL) if sequence_ids is None else sequence_ids
        types_BL = jnp.zeros_like(ids_BL) if token_type_ids is None else token_type_ids
        if position_ids is None:
            position_ids = jnp.broadcast_to(jnp.arange(length), ids_BL.shape)
        embedded_BLD = self.constrain(
            self.embeddings(
                ids_BL,
                jnp.asarray(types_BL),
                jnp.asarray(position_ids),
                dropout_seeds_B=dropout_seeds,
            ),
            "BLD",
        )
        hidden_BLD, hidden_NBLD, attentions_NBHQT = self.encoder(
            embedded_BLD,
            Visibility(
                jnp.asarray(mask_BL).astype(bool),
                None if sequence_ids is None else jnp.asarray(sequence_ids),
            ),
            dropout_seeds_B=dropout_seeds,
            with_hidden_states=output_hidden_states,
            with_probabilities=output_attentions,
        )
        pooled = None
        if self.pooler is not None:
            first = hidden_BLD[:, 0]
            if sequence_starts is not None:
                first = hidden_at(hidden_BLD, jnp.asarray(sequence_starts))
            pooled = self.constrain(
                jnp.tanh(self.pooler(first)), "BD" if sequence_starts is None else "BSD"
            )
        return BertModelOutput(
            last_hidden_state=hidden_BLD,
            pooler_output=pooled,
            hidden_states=None if hidden_NBLD is None else (embedded_BLD, *hidden_NBLD),
            attentions=None if attentions_NBHQT is None else tuple(attentions_NBHQT),
        )
