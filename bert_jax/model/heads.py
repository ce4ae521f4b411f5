"""BERT with one head: for masked words, sentences, texts, tokens.

Each takes what `BertModel` takes; given labels, it returns their mean loss as well.
Shapes: B batch, L length, P predictions, D hidden, V vocabulary, C labels.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import ArrayLike

from bert_jax.bert_config import BertConfig
from bert_jax.model.attention import Attention, plain_attention
from bert_jax.model.bert import BertModel
from bert_jax.model.dropout import dropout
from bert_jax.model.encoder import (
    Constrain,
    Remat,
    hidden_at,
    keep_everything,
    unconstrained,
)
from bert_jax.model.losses import label_loss, text_loss
from bert_jax.model.masked_lm import MaskedLanguageModelHead
from bert_jax.model.outputs import BertModelOutput, LogitsOutput

# Site of dropout: 0 to 3 are those of the encoder.
_HEAD_SITE = 4


class BertWithHead(nnx.Module):
    """The encoder and a place for a head, which a subclass adds.

    Takes the same arguments as `BertModel`.
    """

    has_pooler: ClassVar[bool] = True

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
    ):
        self.config = config
        self.constrain = constrain
        self.bert = BertModel(
            config,
            dtype=dtype,
            rngs=rngs,
            attention=attention,
            unroll=unroll,
            constrain=constrain,
            remat=remat,
            add_pooling_layer=self.has_pooler,
        )
        self.add_head(dtype, rngs)

    def add_head(self, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        """Makes the layers of the head."""
        raise NotImplementedError

    def make_dense(self, size: int, dtype: jnp.dtype, rngs: nnx.Rngs) -> nnx.Linear:
        """A head of one matrix."""
        return nnx.Linear(
            self.config.hidden_size,
            size,
            kernel_init=nnx.initializers.truncated_normal(self.config.initializer_range),
            dtype=dtype,
            rngs=rngs,
        )

    def dropped(self, x: jax.Array, seeds_B: jax.Array | None) -> jax.Array:
        """What a classifier sees of float[B, …]."""
        rate = self.config.classifier_dropout
        rate = self.config.hidden_dropout_prob if rate is None else rate
        return dropout(x, rate, seeds_B, _HEAD_SITE)


class BertWithLabels(BertWithHead):
    """One way in for all heads whose targets are labels."""

    def logits(self, encoded: BertModelOutput, seeds_B: jax.Array | None) -> jax.Array:
        """What the head says of an encoded batch."""
        raise NotImplementedError

    def loss(self, logits: jax.Array, labels: ArrayLike) -> jax.Array:
        """The mean loss over the labels that count."""
        return label_loss(logits, labels)

    def output(
        self, encoded: BertModelOutput, labels: ArrayLike | None, seeds_B: jax.Array | None
    ) -> LogitsOutput:
        """Logits and, if there are labels, the loss."""
        logits = self.logits(encoded, seeds_B).astype(jnp.float32)
        return LogitsOutput(
            logits=logits,
            loss=None if labels is None else self.loss(logits, labels),
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,
        )

    def __call__(
        self,
        input_ids: ArrayLike,
        attention_mask: ArrayLike | None = None,
        token_type_ids: ArrayLike | None = None,
        position_ids: ArrayLike | None = None,
        *,
        labels: ArrayLike | None = None,
        dropout_seeds: jax.Array | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
    ) -> LogitsOutput:
        """Encodes a batch and applies the head.

        Args:
            labels: as the class says, −100 for what does not count; for `loss`.
            (the others as for `BertModel`)
        """
        encoded = self.bert(
            input_ids,
            attention_mask,
            token_type_ids,
            position_ids,
            dropout_seeds=dropout_seeds,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
        )
        return self.output(encoded, labels, dropout_seeds)


class BertForMaskedLM(BertWithLabels):
    """Predicts masked words: logits[B, L or P, V], labels int32[B, L or P]."""

    has_pooler = False

    def add_head(self, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        """See `BertWithHead`."""
        self.masked_lm = MaskedLanguageModelHead(
            self.config, dtype=dtype, rngs=rngs, constrain=self.constrain
        )

    def logits(self, encoded: BertModelOutput, seeds_B: jax.Array | None) -> jax.Array:
        """See `BertWithLabels`."""
        return self.masked_lm(encoded.last_hidden_state, self.bert.embeddings.word)

    def __call__(
        self,
        input_ids: ArrayLike,
        attention_mask: ArrayLike | None = None,
        token_type_ids: ArrayLike | None = None,
        position_ids: ArrayLike | None = None,
        *,
        masked_positions: jax.Array | None = None,
        labels: ArrayLike | None = None,
        dropout_seeds: jax.Array | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
    ) -> LogitsOutput:
        """As the other heads', and `masked_positions` as `BertForPreTraining` takes it."""
        encoded = self.bert(
            input_ids,
            attention_mask,
            token_type_ids,
            position_ids,
            dropout_seeds=dropout_seeds,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
        )
        scored_BPD = hidden_at(encoded.last_hidden_state, masked_positions)
        encoded = dataclasses.replace(encoded, last_hidden_state=scored_BPD)
        return self.output(encoded, labels, dropout_seeds)


class BertForNextSentencePrediction(BertWithLabels):
    """Whether text B follows text A: logits[B, 2], labels int32[B]; 1 is "random"."""

    def add_head(self, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        """See `BertWithHead`."""
        self.next_sentence = self.make_dense(2, dtype, rngs)

    def logits(self, encoded: BertModelOutput, seeds_B: jax.Array | None) -> jax.Array:
        """See `BertWithLabels`."""
        assert encoded.pooler_output is not None
        return self.next_sentence(encoded.pooler_output)


class BertForSequenceClassification(BertWithLabels):
    """Labels or numbers for whole texts: logits[B, num_labels].

    What `labels` are and what the loss is, `problem_type` of the configuration says
    (`bert_jax.model.losses.text_loss`).
    """

    def add_head(self, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        """See `BertWithHead`."""
        self.classifier = self.make_dense(self.config.num_labels, dtype, rngs)

    def logits(self, encoded: BertModelOutput, seeds_B: jax.Array | None) -> jax.Array:
        """See `BertWithLabels`."""
        assert encoded.pooler_output is not None
        return self.classifier(self.dropped(encoded.pooler_output, seeds_B))

    def loss(self, logits: jax.Array, labels: ArrayLike) -> jax.Array:
        """See `BertWithLabels`."""
        return text_loss(logits, labels, self.config.problem_type)


class BertForTokenClassification(BertWithLabels):
    """A label for each token: logits[B, L, num_labels], labels int32[B, L]."""

    has_pooler = False

    def add_head(self, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        """See `BertWithHead`."""
        self.classifier = self.make_dense(self.config.num_labels, dtype, rngs)

    def logits(self, encoded: BertModelOutput, seeds_B: jax.Array | None) -> jax.Array:
        """See `BertWithLabels`."""
        return self.classifier(self.dropped(encoded.last_hidden_state, seeds_B))
