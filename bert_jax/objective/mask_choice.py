"""Which tokens are masked: single ones, whole words, or spans of words.

Each way draws an order from bits of (sequence, position in the sequence) and takes from
its front until the number wanted is reached. The orders are walked in parallel, by ranks
and sums over [B, L, L], and give what the sequential loops of the papers' code give.

Shapes: B rows, L length.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bert_jax.objective.packed_rows import sequence_sums, spread, sum_before
from bert_jax.random_bits import bits_at

# Exact for words of up to seven tokens, see `choose_words`.
_WORD_ROUNDS = 6
# Even, see `choose_spans`.
_SPAN_ROUNDS = 6
_GEOMETRIC_P, _MAX_SPAN_WORDS = 0.2, 10


class Tokens(NamedTuple):
    """What there is to choose from.

    Attributes:
        sequence_ids: int32[B, L], 1 … S, 0 for padding; a sequence's tokens are adjacent.
        positions: int32[B, L], place in the sequence.
        is_maskable: bool[B, L], neither padding nor special.
        begins_word: bool[B, L]; a special is a word, and a word reaches over none.
        num_wanted: int32[B, S], how many to choose in each sequence.
        order_seeds: uint32[B, L], the sequence's seed for the order.
        span_seeds: uint32[B, L], the sequence's seed for the lengths of spans.
    """

    sequence_ids: jax.Array
    positions: jax.Array
    is_maskable: jax.Array
    begins_word: jax.Array
    num_wanted: jax.Array
    order_seeds: jax.Array
    span_seeds: jax.Array


class Choice(NamedTuple):
    """What was chosen.

    Attributes:
        is_chosen: bool[B, L].
        action_positions: int32[B, L], position in the sequence whose bits decide what
            replaces the token: its own, or that of its span's first token.
    """

    is_chosen: jax.Array
    action_positions: jax.Array


def choose_tokens(tokens: Tokens) -> Choice:
    """Single tokens: those with the largest bits.

    Source: google-research/bert, create_pretraining_data.py:create_masked_lm_predictions.
    """
    keys_BL = _keys(tokens, tokens.positions)
    rank_BL = sum_before(tokens.is_maskable, keys_BL, _index(tokens), tokens.sequence_ids)
    num_wanted_BL = spread(tokens.num_wanted, tokens.sequence_ids)
    return Choice(tokens.is_maskable & (rank_BL < num_wanted_BL), tokens.positions)


def choose_words(tokens: Tokens) -> Choice:
    """Whole words in random order; one that does not fit any more is passed over.

    A round finds the first word that does not fit, and drops it and all words behind it
    that are longer than the room before it: they can never fit. So what is left is at
    least a token shorter after each round than the longest word before it, and 6 rounds
    are exact for words of up to 7 tokens. With longer ones, at worst words are left out
    that would have fitted.

    Source: google-research/bert, create_pretraining_data.py with do_whole_word_mask.
    Differs: a sequence in which no word fits has its first token of the order chosen,
        where 2018 chose none; a piece that stands right behind [CLS] or [SEP] begins a
        word, where 2018 joined it to the word before the [SEP].
    """
    sequence_ids_BL, index_BL = tokens.sequence_ids, _index(tokens)
    first_BL = jax.lax.cummax(jnp.where(tokens.begins_word, index_BL, 0), axis=1)
    size_BL = jnp.sum(first_BL[:, None, :] == first_BL[:, :, None], axis=-1)
    keys_BL = _keys(tokens, tokens.positions - (index_BL - first_BL))
    num_wanted_BL = spread(tokens.num_wanted, sequence_ids_BL)

    # Each token stands for its word; of its word, none comes before another.
    def fitting(is_left_BL: jax.Array) -> jax.Array:
        before_BL = sum_before(is_left_BL, keys_BL, first_BL, sequence_ids_BL)
        return is_left_BL & (before_BL + size_BL <= num_wanted_BL)

    def drop(_: int, is_left_BL: jax.Array) -> jax.Array:
        fits_BL = fitting(is_left_BL)
        room_BS = tokens.num_wanted - _sums(tokens, fits_BL)
        return fits_BL | (is_left_BL & (size_BL <= spread(room_BS, sequence_ids_BL)))

    is_chosen_BL = fitting(jax.lax.fori_loop(0, _WORD_ROUNDS, drop, tokens.is_maskable))
    before_BL = sum_before(tokens.is_maskable, keys_BL, first_BL, sequence_ids_BL)
    is_first_BL = tokens.is_maskable & tokens.begins_word & (before_BL == 0)
    is_empty_BL = spread(_sums(tokens, is_chosen_BL), sequence_ids_BL) == 0
    return Choice(is_chosen_BL | (is_first_BL & is_empty_BL), tokens.positions)


def choose_spans(tokens: Tokens) -> Choice:
    """Spans of whole words that begin at random words, cut when the number is reached.

    Anchors, the first tokens of words, come in random order, each with a length in words;
    an anchor that an earlier span covers is passed over. Which ones are is found in
    rounds: a round passes over the anchors that those kept by the last round cover. From
    all anchors kept, an even number of rounds passes over too few, if it errs at all, and
    so reaches the number wanted always; an anchor kept too many begins a span inside
    another.

    Source: Joshi et al. 2019 (https://arxiv.org/abs/1907.10529), section 3.1;
        facebookresearch/SpanBERT, pretraining/fairseq/data/masking.py.
    Differs: an anchor is a random word, in SpanBERT's code the word of a random token; a
        span never covers a special; one draw between [MASK], a random word and the token
        itself for each span as the paper says, where the code draws for spans that touch
        together; random words are even over the vocabulary, not as frequent as in text.
        The number wanted is that of the other ways (rounded, at most `max_predictions`).
    """
    index_BL, length = _index(tokens), tokens.positions.shape[1]
    is_anchor_BL = tokens.begins_word & tokens.is_maskable
    keys_BL = _keys(tokens, tokens.positions)
    rank_BL = sum_before(is_anchor_BL, keys_BL, index_BL, tokens.sequence_ids)
    # The order of the anchors, and the anchor itself, in one number.
    code_BL = rank_BL * length + index_BL
    nobody = length * length
    word_BL = jnp.cumsum(tokens.begins_word, axis=1, dtype=jnp.int32)
    # Equal in tokens of one sequence with no special between them.
    stretch_BL = jnp.cumsum(~tokens.is_maskable, axis=1, dtype=jnp.int32)
    stretch_BL = stretch_BL * (tokens.num_wanted.shape[1] + 1) + tokens.sequence_ids
    bits_BL = bits_at(tokens.span_seeds, tokens.positions)
    end_BL = word_BL + 1 + jnp.sum(bits_BL[..., None] >= _SPAN_THRESHOLDS, axis=-1)

    def owner(is_kept_BL: jax.Array) -> jax.Array:
        """The code of the first kept anchor whose span covers a token."""
        covers_BLL = (
            is_kept_BL[:, None, :]
            & (word_BL[:, None, :] <= word_BL[:, :, None])
            & (word_BL[:, :, None] < end_BL[:, None, :])
            & (stretch_BL[:, None, :] == stretch_BL[:, :, None])
        )
        return jnp.min(jnp.where(covers_BLL, code_BL[:, None, :], nobody), axis=-1)

    def keep(_: int, is_kept_BL: jax.Array) -> jax.Array:
        return is_anchor_BL & (owner(is_kept_BL) >= code_BL)

    owner_BL = owner(jax.lax.fori_loop(0, _SPAN_ROUNDS, keep, is_anchor_BL))
    rank_BL = sum_before(tokens.is_maskable, -owner_BL, index_BL, tokens.sequence_ids)
    num_wanted_BL = spread(tokens.num_wanted, tokens.sequence_ids)
    return Choice(
        tokens.is_maskable & (rank_BL < num_wanted_BL),
        tokens.positions - (index_BL - owner_BL % length),
    )


def _span_thresholds() -> np.ndarray:
    """uint32[9]: bits below the first are a span of one word, below the next of two, ….

    The geometric distribution cut off behind ten words and scaled to 1, as in SpanBERT's
    code, which gives the paper's mean of 3.8 words.
    """
    weights = _GEOMETRIC_P * (1 - _GEOMETRIC_P) ** np.arange(_MAX_SPAN_WORDS)
    shares = np.cumsum(weights)[:-1] / weights.sum()
    return np.rint(shares * 2**32).astype(np.uint32)


_SPAN_THRESHOLDS = _span_thresholds()


def _index(tokens: Tokens) -> jax.Array:
    """int32[B, L], place in the row: lower is earlier within each sequence."""
    return jax.lax.broadcasted_iota(jnp.int32, tokens.positions.shape, 1)


def _keys(tokens: Tokens, positions_BL: jax.Array) -> jax.Array:
    """int32[B, L]: the bits that decide the order, of given positions in the sequence."""
    return (bits_at(tokens.order_seeds, positions_BL) >> 8).astype(jnp.int32)


def _sums(tokens: Tokens, values_BL: jax.Array) -> jax.Array:
    return sequence_sums(values_BL, tokens.sequence_ids, tokens.num_wanted.shape[1])
