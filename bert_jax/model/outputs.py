"""What the networks return: pytrees with the field names of Transformers.

Shapes: B batch, L length, P predictions, D hidden, H heads, N layers, C labels or choices.
"""

from __future__ import annotations

from typing import Any

import flax.struct
import jax


class _Output:
    """Lets fields be asked for by name or number, too, as people do with Transformers."""

    def to_tuple(self) -> tuple[Any, ...]:
        """The fields that have a value, `loss` first."""
        names = sorted(vars(self), key=lambda name: name != "loss")
        return tuple(vars(self)[name] for name in names if vars(self)[name] is not None)

    def __getitem__(self, key: int | slice | str) -> Any:
        return vars(self)[key] if isinstance(key, str) else self.to_tuple()[key]


@flax.struct.dataclass
class BertModelOutput(_Output):
    """What `BertModel` returns.

    Attributes:
        last_hidden_state: float[B, L, D].
        pooler_output: float[B, D], tanh of a dense layer on the first token, or
            float[B, S, D] where several were asked for; None for a model without that
            layer.
        hidden_states: on request, N + 1 of float[B, L, D], the embeddings first.
        attentions: on request, N of float32[B, H, L, L].
    """

    last_hidden_state: jax.Array
    pooler_output: jax.Array | None
    hidden_states: tuple[jax.Array, ...] | None = None
    attentions: tuple[jax.Array, ...] | None = None


@flax.struct.dataclass
class BertForPreTrainingOutput(_Output):
    """What `BertForPreTraining` returns.

    Attributes:
        prediction_logits: float32[B, L or P, vocab_size], scores of the masked tokens.
        seq_relationship_logits: float32[B, 2]; 0 is "B follows A", 1 is "random";
            float32[B, S, 2] for packed rows.
        loss: float32 scalar, where labels were given.
        hidden_states: as in `BertModelOutput`.
        attentions: as in `BertModelOutput`.
    """

    prediction_logits: jax.Array
    seq_relationship_logits: jax.Array
    loss: jax.Array | None = None
    hidden_states: tuple[jax.Array, ...] | None = None
    attentions: tuple[jax.Array, ...] | None = None


@flax.struct.dataclass
class LogitsOutput(_Output):
    """What a model with one head returns.

    Attributes:
        logits: float32: [B, L or P, vocab_size] of masked words, [B, L, C] of tokens,
            [B, C] of texts and choices.
        loss: float32 scalar, where labels were given.
        hidden_states: as in `BertModelOutput`.
        attentions: as in `BertModelOutput`.
    """

    logits: jax.Array
    loss: jax.Array | None = None
    hidden_states: tuple[jax.Array, ...] | None = None
    attentions: tuple[jax.Array, ...] | None = None


@flax.struct.dataclass
class QuestionAnsweringOutput(_Output):
    """What `BertForQuestionAnswering` returns.

    Attributes:
        start_logits: float32[B, L], of the first token of the answer.
        end_logits: float32[B, L], of its last token.
        loss: float32 scalar, where positions were given.
        hidden_states: as in `BertModelOutput`.
        attentions: as in `BertModelOutput`.
    """

    start_logits: jax.Array
    end_logits: jax.Array
    loss: jax.Array | None = None
    hidden_states: tuple[jax.Array, ...] | None = None
    attentions: tuple[jax.Array, ...] | None = None
