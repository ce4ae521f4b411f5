"""BERT with the two heads that it is pretrained with.

Shapes: B batch, L length, P predictions, D hidden, V vocabulary.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import ArrayLike

from bert_jax.model.encoder import hidden_at
from bert_jax.model.heads import BertWithHead
from bert_jax.model.losses import label_loss
from bert_jax.model.masked_lm import MaskedLanguageModelHead
from bert_jax.model.outputs import BertForPreTrainingOutput


class BertForPreTraining(BertWithHead):
    """BERT with the heads for masked words and for the next sentence."""

    def add_head(self, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        """See `BertWithHead`."""
        self.masked_lm = MaskedLanguageModelHead(
            self.config, dtype=dtype, rngs=rngs, constrain=self.constrain
        )
        self.next_sentence = self.make_dense(2, dtype, rngs)

    def __call__(
        self,
        input_ids: ArrayLike,
        attention_mask: ArrayLike | None = None,
        token_type_ids: ArrayLike | None = None,
        position_ids: ArrayLike | None = None,
        *,
        sequence_ids: ArrayLike | None = None,
        sequence_starts: ArrayLike | None = None,
        masked_positions: jax.Array | None = None,
        labels: ArrayLike | None = None,
        next_sentence_label: ArrayLike | None = None,
        dropout_seeds: jax.Array | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
    ) -> BertForPreTrainingOutput:
        """Scores masked words and the next sentence.

        Args:
            masked_positions: int32[B, P], positions to score; every position by default,
                which costs a product of all tokens with the whole vocabulary.
            labels: int32[B, L or P], ids of the words to predict, −100 for none; with
                `next_sentence_label`, for `loss`: the sum of both mean cross-entropies.
            next_sentence_label: int32[B]; 0 is "B follows A", 1 is "random".
            sequence_starts: with these `seq_relationship_logits` is float32[B, S, 2].
            (the others as for `BertModel`)
        """
        encoded = self.bert(
            input_ids,
            attention_mask,
            token_type_ids,
            position_ids,
            sequence_ids=sequence_ids,
            sequence_starts=sequence_starts,
            dropout_seeds=dropout_seeds,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
        )
        scored_BPD = hidden_at(encoded.last_hidden_state, masked_positions)
        assert encoded.pooler_output is not None
        words_BPV = self.masked_lm(scored_BPD, self.bert.embeddings.word)
        sentence_logits = self.next_sentence(encoded.pooler_output).astype(jnp.float32)
        loss = None
        if labels is not None and next_sentence_label is not None:
            loss = label_loss(words_BPV, labels)
            loss += label_loss(sentence_logits, next_sentence_label)
        return BertForPreTrainingOutput(
            prediction_logits=words_BPV,
            seq_relationship_logits=sentence_logits,
            loss=loss,
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,
        )
