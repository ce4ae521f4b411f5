"""Which tokens are masked: single ones, whole words, or spans of words.

Each way draws an order from bits of (sequence, position in the sequence) and takes from
its front until the number wanted is reached. The orders are walked in parallel, in a few
rounds of integer sums, and give what the sequential loops of the papers' code give.

Shapes: B rows, L length, S sequences in a row, W words in a row (padded to L).
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
    index_BL, length = _index(tokens), tokens.positions.shape[1]
    first_BL = jax.lax.cummax(jnp.where(tokens.begins_word, index_BL, 0), axis=1)
    starts_BL = jnp.where(tokens.begins_word, index_BL, length)
    starts_BL = jnp.pad(starts_BL[:, 1:], ((0, 0), (0, 1)), constant_values=length)
    end_BL = jax.lax.cummin(starts_BL, axis=1, reverse=True)
    keys_BL = _keys(tokens, tokens.positions - (index_BL - first_BL))

    # From here on tokens stand in the order of their words, sequence by sequence; those
    # that cannot be chosen stand in front, as group 0.
    groups_BL = jnp.where(tokens.is_maskable, tokens.sequence_ids, 0)
    groups_BL, _, first_BL, index_BL, end_BL = jax.lax.sort(
        (groups_BL, -keys_BL, first_BL, index_BL, end_BL), dimension=1, num_keys=4
    )
    num_wanted_BL = spread(tokens.num_wanted, groups_BL)

    def fitting(is_left_BL: jax.Array) -> jax.Array:
        num_left_BS = _sums(is_left_BL, groups_BL, tokens)
        before_BS = jnp.cumsum(num_left_BS, axis=1) - num_left_BS
        count_BL = jnp.cumsum(is_left_BL, axis=1) - spread(before_BS, groups_BL)
        return is_left_BL & (count_BL + (end_BL - 1 - index_BL) <= num_wanted_BL)

    def drop(_: int, is_left_BL: jax.Array) -> jax.Array:
        fits_BL = fitting(is_left_BL)
        room_BS = tokens.num_wanted - _sums(fits_BL, groups_BL, tokens)
        can_fit_BL = end_BL - first_BL <= spread(room_BS, groups_BL)
        return fits_BL | (is_left_BL & can_fit_BL)

    is_chosen_BL = fitting(jax.lax.fori_loop(0, _WORD_ROUNDS, drop, groups_BL > 0))
    is_first_BL = groups_BL != jnp.pad(groups_BL[:, :-1], ((0, 0), (1, 0)))
    is_empty_BL = spread(_sums(is_chosen_BL, groups_BL, tokens), groups_BL) == 0
    is_chosen_BL |= is_first_BL & is_empty_BL
    _, is_chosen_BL = jax.lax.sort((index_BL, is_chosen_BL), dimension=1, num_keys=1)
    return Choice(is_chosen_BL, tokens.positions)


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
    # The order of the anchors, and the anchor itself, in one number; others stand last.
    code_BL = jnp.where(is_anchor_BL, rank_BL * length + index_BL, length * length)
    owner_BL = _owners(code_BL, tokens)
    rank_BL = sum_before(tokens.is_maskable, -owner_BL, index_BL, tokens.sequence_ids)
    num_wanted_BL = spread(tokens.num_wanted, tokens.sequence_ids)
    return Choice(
        tokens.is_maskable & (rank_BL < num_wanted_BL),
        tokens.positions - (index_BL - owner_BL % length),
    )


def _owners(code_BL: jax.Array, tokens: Tokens) -> jax.Array:
    """int32[B, L]: the code of the first anchor whose span covers a token, else L²."""
    index_BL, length = _index(tokens), tokens.positions.shape[1]
    nobody = length * length
    bits_BL = bits_at(tokens.span_seeds, tokens.positions)
    num_words_BL = 1 + jnp.sum(bits_BL[..., None] >= _SPAN_THRESHOLDS, axis=-1)
    # Equal in tokens of one sequence with no special between them.
    stretch_BL = jnp.cumsum(~tokens.is_maskable, axis=1, dtype=jnp.int32)
    stretch_BL = stretch_BL * (tokens.num_wanted.shape[1] + 1) + tokens.sequence_ids

    # From tokens to words, by the words' first tokens.
    first_BW = jnp.sort(jnp.where(tokens.begins_word, index_BL, length - 1), axis=1)
    code_BW, num_words_BW, stretch_BW = (
        jnp.take_along_axis(values_BL, first_BW, axis=1)
        for values_BL in (code_BL, num_words_BL, stretch_BL)
    )

    def owner(is_kept_BW: jax.Array) -> jax.Array:
        kept_BW = jnp.where(is_kept_BW, code_BW, nobody)
        owner_BW = kept_BW
        for distance in range(1, min(_MAX_SPAN_WORDS, length)):
            covers_BW = num_words_BW[:, :-distance] > distance
            covers_BW &= stretch_BW[:, :-distance] == stretch_BW[:, distance:]
            covering_BW = jnp.where(covers_BW, kept_BW[:, :-distance], nobody)
            owner_BW = jnp.minimum(
                owner_BW,
                jnp.pad(covering_BW, ((0, 0), (distance, 0)), constant_values=nobody),
            )
        return owner_BW

    def keep(_: int, is_kept_BW: jax.Array) -> jax.Array:
        return (code_BW < nobody) & (owner(is_kept_BW) >= code_BW)

    owner_BW = owner(jax.lax.fori_loop(0, _SPAN_ROUNDS, keep, code_BW < nobody))
    word_BL = jnp.cumsum(tokens.begins_word, axis=1, dtype=jnp.int32) - 1
    return jnp.take_along_axis(owner_BW, word_BL, axis=1)


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


def _sums(values_BL: jax.Array, groups_BL: jax.Array, tokens: Tokens) -> jax.Array:
    return sequence_sums(values_BL, groups_BL, tokens.num_wanted.shape[1])
