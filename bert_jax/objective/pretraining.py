"""The pretraining objective: masked words and the next sentence."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from bert_jax.batch import PretrainingBatch
from bert_jax.objective.losses import LossFn, Terms, accuracy, cross_entropy
from bert_jax.objective.masking import Masking, mask_tokens
from bert_jax.random_bits import fold


def make_pretraining_loss(masking: Masking, *, seed: int) -> LossFn:
    """The loss of a model that scores masked words and the next sentence.

    Masks depend on (seed, epoch, example, position) and on nothing else; dropout on the
    key, the epoch and the example.

    Args:
        masking: how masks are drawn.
        seed: seed of the masks.

    Returns:
        A function of (model, `PretrainingBatch`, key), where the model is called as
        `BertForPreTraining` is. Its losses are `mlm` and `nsp`, its other metrics
        `mlm_accuracy` and `nsp_accuracy`.
    """

    def loss_fn(
        model: Any, batch: PretrainingBatch, key: jax.Array | None
    ) -> tuple[Terms, Terms]:
        examples_B = fold(seed, batch.epochs, batch.example_ids)
        masked = mask_tokens(batch.input_ids, batch.attention_mask, examples_B, masking)
        output = model(
            masked.input_ids,
            batch.attention_mask,
            batch.token_type_ids,
            masked_positions=masked.positions,
            dropout_seeds=None if key is None else fold(examples_B, jax.random.bits(key)),
        )
        mlm = (output.prediction_logits, masked.labels, masked.weights)
        ones_B = jnp.ones(batch.next_sentence_labels.shape)
        nsp = (output.seq_relationship_logits, batch.next_sentence_labels, ones_B)
        return (
            {"mlm": cross_entropy(*mlm), "nsp": cross_entropy(*nsp)},
            {"mlm_accuracy": accuracy(*mlm), "nsp_accuracy": accuracy(*nsp)},
        )

    return loss_fn
