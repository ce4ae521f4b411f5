"""BERT that answers questions: with a part of a text, or with one of several choices.

Shapes: B batch, L length, C choices.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import ArrayLike

from bert_jax.model.heads import BertWithHead, BertWithLabels
from bert_jax.model.losses import span_loss
from bert_jax.model.outputs import (
    BertModelOutput,
    LogitsOutput,
    QuestionAnsweringOutput,
)
from bert_jax.random_bits import fold


class BertForQuestionAnswering(BertWithHead):
    """Where the answer begins and ends in a text: start_logits[B, L], end_logits[B, L].

    `num_labels` of the configuration must be 2.
    """

    has_pooler = False

    def add_head(self, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        """See `BertWithHead`."""
        if self.config.num_labels != 2:
            raise ValueError(
                f"num_labels={self.config.num_labels} must be 2 to answer questions, for "
                "the start and the end; pass num_labels=2"
            )
        self.qa_outputs = self.make_dense(2, dtype, rngs)

    def __call__(
        self,
        input_ids: ArrayLike,
        attention_mask: ArrayLike | None = None,
        token_type_ids: ArrayLike | None = None,
        position_ids: ArrayLike | None = None,
        *,
        start_positions: ArrayLike | None = None,
        end_positions: ArrayLike | None = None,
        dropout_seeds: jax.Array | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
    ) -> QuestionAnsweringOutput:
        """Scores each token as the first and as the last one of the answer.

        Args:
            start_positions: int32[B], first token of the answer; with `end_positions`,
                for `loss`. A position beyond the row does not count.
            end_positions: int32[B], its last token.
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
        logits_BL2 = self.qa_outputs(encoded.last_hidden_state).astype(jnp.float32)
        start_BL, end_BL = logits_BL2[..., 0], logits_BL2[..., 1]
        loss = None
        if start_positions is not None and end_positions is not None:
            loss = span_loss(start_BL, end_BL, start_positions, end_positions)
        return QuestionAnsweringOutput(
            start_logits=start_BL,
            end_logits=end_BL,
            loss=loss,
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,
        )


class BertForMultipleChoice(BertWithLabels):
    """Which of C texts is the right one: inputs [B, C, L], logits[B, C], labels int32[B].

    `hidden_states` and `attentions` have B·C rows.
    """

    def add_head(self, dtype: jnp.dtype, rngs: nnx.Rngs) -> None:
        """See `BertWithHead`."""
        self.classifier = self.make_dense(1, dtype, rngs)

    def logits(self, encoded: BertModelOutput, seeds_B: jax.Array | None) -> jax.Array:
        """See `BertWithLabels`."""
        assert encoded.pooler_output is not None
        return self.classifier(self.dropped(encoded.pooler_output, seeds_B))

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
        """As the other heads', but for the shape of the inputs."""
        if np.ndim(input_ids) != 3:
            raise ValueError(
                f"input_ids has shape {np.shape(input_ids)}; it must be (questions, "
                "choices, tokens)"
            )
        questions, choices, length = np.shape(input_ids)

        def rows(array: Any) -> Any:  # NumPy's reshape leaves an array of JAX one of JAX
            return None if array is None else np.reshape(array, (-1, length))

        if dropout_seeds is not None:
            dropout_seeds = fold(dropout_seeds[:, None], jnp.arange(choices)).reshape(-1)
        output = super().__call__(
            rows(input_ids),
            rows(attention_mask),
            rows(token_type_ids),
            rows(position_ids),
            dropout_seeds=dropout_seeds,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
        )
        logits_BC = output.logits.reshape(questions, choices)
        loss = None if labels is None else self.loss(logits_BC, labels)
        return dataclasses.replace(output, logits=logits_BC, loss=loss)
