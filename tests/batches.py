"""Batches of one sequence a row, made by hand.

Shapes: B rows, L length.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bert_jax.batch import PretrainingBatch
from bert_jax.objective.masking import MaskedTokens, Masking, mask_tokens
from bert_jax.random_bits import fold


def make_masking(
    *, rate: float, most: int, vocab_size: int, kind: str = "token"
) -> Masking:
    """Masks of one sequence a row, where the control tokens are the first five."""
    return Masking(
        kind=kind,
        mask_rates=(rate,),
        max_predictions=most,
        num_predictions=most,
        mask_id=4,
        special_ids=(0, 1, 2, 3, 4),
        vocab_size=vocab_size,
    )


def unpacked_batch(
    input_ids_BL: Any,
    token_type_ids_BL: Any,
    inside_BL: Any,
    *,
    labels_B: Any,
    example_ids_B: Any,
    epochs_B: Any,
) -> PretrainingBatch:
    """One sequence a row; `inside_BL` tells tokens from padding."""
    inside_BL = np.asarray(inside_BL).astype(bool)
    num_rows, length = inside_BL.shape
    return PretrainingBatch(
        input_ids=np.asarray(input_ids_BL).astype(np.int32),
        token_type_ids=np.asarray(token_type_ids_BL).astype(np.int32),
        sequence_ids=inside_BL.astype(np.int32),
        position_ids=(inside_BL * np.arange(length)).astype(np.int32),
        word_starts=inside_BL,
        sequence_starts=np.zeros((num_rows, 1), np.int32),
        sentence_labels=np.asarray(labels_B).astype(np.int32)[:, None],
        example_ids=np.asarray(example_ids_B).astype(np.uint32)[:, None],
        sources=np.zeros(num_rows, np.uint32),
        epochs=np.asarray(epochs_B).astype(np.uint32),
        mask_stages=np.zeros(num_rows, np.int32),
    )


def mask_batch(batch: PretrainingBatch, masking: Masking, seed: int) -> MaskedTokens:
    """The masks that the pretraining loss of this seed draws for a batch."""
    seeds_BS = fold(seed, batch.sources[:, None], batch.epochs[:, None], batch.example_ids)
    return mask_tokens(
        batch.input_ids,
        batch.sequence_ids,
        batch.position_ids,
        batch.word_starts,
        seeds_BS,
        batch.mask_stages,
        masking,
    )
