"""Masked words, drawn on the device inside the training step.

Which tokens are masked is a function of the row's seed and of the position alone, so
it is the same on every mesh, and the caller decides what the seed depends on.

Shapes: B batch, L length, P predictions per row.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bert_jax.random_bits import fold, row_bits

_CHOICE_SITE, _ACTION_SITE, _WORD_SITE = 0, 1, 2


class MaskedTokens(NamedTuple):
    """A batch after masking.

    Attributes:
        input_ids: int32[B, L], with masks.
        positions: int32[B, P], what to predict; distinct within a row.
        labels: int32[B, P], the ids that stood there.
        weights: float32[B, P], 1 for a prediction, 0 for an unused place.
    """

    input_ids: jax.Array
    positions: jax.Array
    labels: jax.Array
    weights: jax.Array


@dataclasses.dataclass(frozen=True)
class Masking:
    """How masks are drawn.

    Attributes:
        mask_rate: share of a row's tokens (with [CLS] and [SEP], as in 2018) to predict.
        max_predictions: P, the most predictions in a row.
        mask_id: id of [MASK].
        special_ids: ids that are never chosen.
        vocab_size: random replacements are drawn from [0, vocab_size).
    """

    mask_rate: float
    max_predictions: int
    mask_id: int
    special_ids: tuple[int, ...]
    vocab_size: int


def mask_tokens(
    input_ids_BL: jax.Array,
    attention_mask_BL: jax.Array,
    seeds_B: jax.Array,
    masking: Masking,
) -> MaskedTokens:
    """Chooses tokens to predict: 80 % become [MASK], 10 % a random word, 10 % stay.

    Args:
        input_ids_BL: int32[B, L], ids in [0, vocab_size).
        attention_mask_BL: int32[B, L], 1 for tokens.
        seeds_B: uint32[B], one seed a row.
        masking: how to mask.

    Source: google-research/bert, create_pretraining_data.py:create_masked_lm_predictions.
    Differs: drawn anew for every epoch instead of once in a file.
    """
    maskable_BL = attention_mask_BL.astype(bool) & ~jnp.isin(
        input_ids_BL, jnp.asarray(masking.special_ids)
    )
    # A table made in float64, as 2018's numbers were: in float32 some halves round
    # the other way (0.35 of 90 tokens).
    lengths = np.arange(input_ids_BL.shape[1] + 1)
    num_wanted = np.maximum(1, np.rint(lengths * masking.mask_rate)).astype(np.int32)
    num_wanted_B = jnp.asarray(num_wanted)[attention_mask_BL.sum(axis=-1)]
    num_chosen_B = jnp.minimum(num_wanted_B, maskable_BL.sum(axis=-1))

    bits_BL = row_bits(fold(seeds_B, _CHOICE_SITE), input_ids_BL.shape[1:])
    # 24 bits are exact in float32, which top_k is fast for; equal scores: lower position.
    score_BL = jnp.where(maskable_BL, (bits_BL >> 8).astype(jnp.float32), -1.0)
    _, positions_BP = jax.lax.top_k(score_BL, masking.max_predictions)
    is_chosen_BP = jnp.arange(masking.max_predictions) < num_chosen_B[:, None]

    labels_BP = jnp.take_along_axis(input_ids_BL, positions_BP, axis=-1)
    action_BP = row_bits(fold(seeds_B, _ACTION_SITE), positions_BP.shape[1:])
    word_BP = row_bits(fold(seeds_B, _WORD_SITE), positions_BP.shape[1:])
    random_ids_BP = (word_BP % jnp.uint32(masking.vocab_size)).astype(labels_BP.dtype)
    new_ids_BP = jnp.where(
        action_BP < jnp.uint32(round(0.9 * 2**32)), random_ids_BP, labels_BP
    )
    new_ids_BP = jnp.where(
        action_BP < jnp.uint32(round(0.8 * 2**32)), masking.mask_id, new_ids_BP
    )
    new_ids_BP = jnp.where(is_chosen_BP, new_ids_BP, labels_BP)
    return MaskedTokens(
        input_ids=jnp.put_along_axis(
            input_ids_BL, positions_BP, new_ids_BP, axis=-1, inplace=False
        ),
        positions=positions_BP,
        labels=labels_BP,
        weights=is_chosen_BP.astype(jnp.float32),
    )
