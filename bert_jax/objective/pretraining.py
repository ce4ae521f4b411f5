"""The pretraining objective: masked words and a question about two segments.

Shapes: B rows, L tokens in a row, S sequences packed in a row, P predictions of a row.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from bert_jax.batch import NO_SENTENCE_LABEL, PretrainingBatch
from bert_jax.objective.losses import LossFn, Terms, accuracy, cross_entropy
from bert_jax.objective.masking import Masking, mask_tokens
from bert_jax.random_bits import fold


def make_pretraining_loss(masking: Masking, *, seed: int, sentence_task: str) -> LossFn:
    """The loss of a model that scores masked words and pairs of segments.

    Masks depend on (seed, source, epoch, example, position in the example) and on nothing
    else: neither on packing nor on the mesh. Dropout depends on the key and on the row's
    first example. Every prediction weighs the same, and so does every pair.

    Args:
        masking: how masks are drawn.
        seed: seed of the masks.
        sentence_task: "nsp", "sop", or "none" for masked words alone.

    Returns:
        A function of (model, `PretrainingBatch`, key), where the model is called as
        `BertForPreTraining` is. Its losses are `mlm` and the sentence task by its name,
        its other metrics `mlm_accuracy` and, by that name, the accuracy of the task.
    """

    def loss_fn(
        model: Any, batch: PretrainingBatch, key: jax.Array | None
    ) -> tuple[Terms, Terms]:
        seeds_BS = fold(
            seed, batch.sources[:, None], batch.epochs[:, None], batch.example_ids
        )
        masked = mask_tokens(
            batch.input_ids,
            batch.sequence_ids,
            batch.position_ids,
            batch.word_starts,
            seeds_BS,
            batch.mask_stages,
            masking,
        )
        is_packed = batch.example_ids.shape[1] > 1
        output = model(
            masked.input_ids,
            batch.sequence_ids > 0,
            batch.token_type_ids,
            batch.position_ids,
            sequence_ids=batch.sequence_ids if is_packed else None,
            sequence_starts=batch.sequence_starts,
            masked_positions=masked.positions,
            dropout_seeds=(
                None if key is None else fold(jax.random.bits(key), seeds_BS[:, 0])
            ),
        )
        mlm = (output.prediction_logits, masked.labels, masked.weights)
        losses = {"mlm": cross_entropy(*mlm)}
        others = {"mlm_accuracy": accuracy(*mlm)}
        if sentence_task != "none":
            labels_BS = batch.sentence_labels
            is_pair_BS = (labels_BS != NO_SENTENCE_LABEL).astype(jnp.float32)
            pairs = (output.seq_relationship_logits, jnp.maximum(labels_BS, 0), is_pair_BS)
            losses[sentence_task] = cross_entropy(*pairs)
            others[f"{sentence_task}_accuracy"] = accuracy(*pairs)
        return losses, others

    return loss_fn
