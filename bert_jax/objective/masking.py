"""Masked words, drawn on the device inside the training step.

Which tokens of a sequence are masked and what replaces them is a function of the
sequence's seed and of the tokens alone: it is the same on every mesh, in whatever row and
beside whatever other sequences it is packed. The caller decides what the seed depends on.

Shapes: B rows, L length, S sequences packed in a row (1 without packing), P predictions
per row, R stages of the mask rate.
"""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bert_jax.objective.mask_choice import (
    Tokens,
    choose_spans,
    choose_tokens,
    choose_words,
)
from bert_jax.objective.packed_rows import sequence_sums, spread
from bert_jax.random_bits import bits_at, fold

_ORDER_SITE, _ACTION_SITE, _WORD_SITE, _SPAN_SITE = range(4)
_CHOOSERS = {"token": choose_tokens, "whole_word": choose_words, "span": choose_spans}


class MaskedTokens(NamedTuple):
    """A batch after masking.

    Attributes:
        input_ids: int32[B, L], with masks.
        positions: int32[B, P], what to predict, as places in the row; distinct within a
            row, predictions first.
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
        kind: what is masked together: "token", "whole_word" or "span".
        mask_rates: for each stage, the share of a sequence's tokens (with [CLS] and
            [SEP], as in 2018) to predict; one for a constant rate.
        max_predictions: the most predictions in a sequence.
        num_predictions: P, the places for predictions in a row, from `slots_per_row`.
        mask_id: id of [MASK].
        special_ids: ids that are never chosen.
        vocab_size: random replacements are drawn from [0, vocab_size).
    """

    kind: str
    mask_rates: tuple[float, ...]
    max_predictions: int
    num_predictions: int
    mask_id: int
    special_ids: tuple[int, ...]
    vocab_size: int


def slots_per_row(
    length: int, num_sequences: int, max_predictions: int, mask_rates: tuple[float, ...]
) -> int:
    """P: places that hold the predictions of any row, so that none is ever dropped.

    A sequence of n tokens wants at most max(1, round(n × rate)) < n × rate + 1, and no
    more than `max_predictions`. The lengths in a row add up to at most L, so the row
    wants less than L × rate + S, and never more tokens than it has.

    Args:
        length: L.
        num_sequences: S, the most sequences in a row.
        max_predictions: the most predictions in a sequence.
        mask_rates: the rates of all stages.
    """
    most = num_sequences * max_predictions
    if num_sequences > 1:
        most = min(most, math.ceil(max(mask_rates) * length) + num_sequences)
    return min(most, length)


def mask_tokens(
    input_ids_BL: jax.Array,
    sequence_ids_BL: jax.Array,
    position_ids_BL: jax.Array,
    word_starts_BL: jax.Array,
    seeds_BS: jax.Array,
    stages_B: jax.Array,
    masking: Masking,
) -> MaskedTokens:
    """Chooses tokens to predict: 80 % become [MASK], 10 % a random word, 10 % stay.

    Every sequence with a maskable token has at least one prediction.

    Args:
        input_ids_BL: int32[B, L], ids in [0, vocab_size).
        sequence_ids_BL: int32[B, L], which of the row's sequences a token belongs to,
            1 … S, 0 for padding; the tokens of a sequence are adjacent.
        position_ids_BL: int32[B, L], place of the token in its sequence, from 0.
        word_starts_BL: bool[B, L], whether a word starts at the token; read for whole
            words and spans.
        seeds_BS: uint32[B, S], one seed a sequence.
        stages_B: int32[B], the row's stage, an index into `masking.mask_rates`.
        masking: how to mask.

    Source: google-research/bert, create_pretraining_data.py:create_masked_lm_predictions.
    Differs: drawn anew for every epoch instead of once in a file. For words and spans
        see `choose_words`, `choose_spans`.
    """
    length, num_sequences = input_ids_BL.shape[1], seeds_BS.shape[1]
    assert masking.num_predictions >= slots_per_row(
        length, num_sequences, masking.max_predictions, masking.mask_rates
    ), "predictions would be dropped"

    def token_seeds(site: int) -> jax.Array:
        return spread(fold(site, seeds_BS), sequence_ids_BL)

    is_maskable_BL = (sequence_ids_BL > 0) & ~jnp.isin(
        input_ids_BL, jnp.asarray(masking.special_ids)
    )
    tokens = Tokens(
        sequence_ids=sequence_ids_BL,
        positions=position_ids_BL,
        is_maskable=is_maskable_BL,
        begins_word=_word_beginnings(word_starts_BL, is_maskable_BL, sequence_ids_BL),
        num_wanted=_num_wanted(sequence_ids_BL, num_sequences, stages_B, masking),
        order_seeds=token_seeds(_ORDER_SITE),
        span_seeds=token_seeds(_SPAN_SITE),
    )
    is_chosen_BL, action_positions_BL = _CHOOSERS[masking.kind](tokens)
    new_ids_BL = _replacements(
        input_ids_BL,
        action_bits_BL=bits_at(token_seeds(_ACTION_SITE), action_positions_BL),
        word_bits_BL=bits_at(token_seeds(_WORD_SITE), position_ids_BL),
        masking=masking,
    )
    places_BP = _places_chosen_first(is_chosen_BL, masking.num_predictions)
    return MaskedTokens(
        input_ids=jnp.where(is_chosen_BL, new_ids_BL, input_ids_BL),
        positions=places_BP,
        labels=jnp.take_along_axis(input_ids_BL, places_BP, axis=-1),
        weights=jnp.take_along_axis(is_chosen_BL, places_BP, axis=-1).astype(jnp.float32),
    )


def _places_chosen_first(is_chosen_BL: jax.Array, num_places: int) -> jax.Array:
    """int32[B, P]: the first places of a row if the chosen are put before the others.

    As `top_k` of `is_chosen_BL`, which XLA does not divide over rows: every device would
    be sent all of them.
    """
    before_BL = jnp.cumsum(is_chosen_BL, axis=-1)
    place_L = jnp.arange(is_chosen_BL.shape[-1])
    rank_BL = jnp.where(
        is_chosen_BL, before_BL - 1, before_BL[:, -1:] + place_L - before_BL
    )
    is_at_BPL = rank_BL[:, None] == jnp.arange(num_places)[:, None]
    return jnp.sum(jnp.where(is_at_BPL, place_L, 0), axis=-1)


def _num_wanted(
    sequence_ids_BL: jax.Array, num_sequences: int, stages_B: jax.Array, masking: Masking
) -> jax.Array:
    """int32[B, S]: predictions wanted in each sequence, before seeing what is maskable."""
    # A table made in float64, as 2018's numbers were: in float32 some halves round
    # the other way (0.35 of 90 tokens).
    lengths = np.arange(sequence_ids_BL.shape[1] + 1)
    wanted = np.maximum(1, np.rint(np.outer(masking.mask_rates, lengths)))
    table = np.minimum(wanted, masking.max_predictions).astype(np.int32)
    ones_BL = jnp.ones_like(sequence_ids_BL)
    lengths_BS = sequence_sums(ones_BL, sequence_ids_BL, num_sequences)
    return jnp.asarray(table)[stages_B[:, None], lengths_BS]


def _word_beginnings(
    word_starts_BL: jax.Array, is_maskable_BL: jax.Array, sequence_ids_BL: jax.Array
) -> jax.Array:
    """bool[B, L]: as given, and at each special or padding, behind it, in a new sequence.

    So no word holds a special, padding, or tokens of two sequences.
    """
    is_edge_BL = ~is_maskable_BL[:, 1:] | ~is_maskable_BL[:, :-1]
    is_edge_BL |= sequence_ids_BL[:, 1:] != sequence_ids_BL[:, :-1]
    return word_starts_BL | jnp.pad(is_edge_BL, ((0, 0), (1, 0)), constant_values=True)


def _replacements(
    input_ids_BL: jax.Array,
    *,
    action_bits_BL: jax.Array,
    word_bits_BL: jax.Array,
    masking: Masking,
) -> jax.Array:
    """int32[B, L]: what stands in each place if it is chosen."""
    random_ids_BL = (word_bits_BL % jnp.uint32(masking.vocab_size)).astype(jnp.int32)
    is_mask_BL = action_bits_BL < jnp.uint32(round(0.8 * 2**32))
    is_random_BL = action_bits_BL < jnp.uint32(round(0.9 * 2**32))
    return jnp.where(
        is_mask_BL, masking.mask_id, jnp.where(is_random_BL, random_ids_BL, input_ids_BL)
    )
