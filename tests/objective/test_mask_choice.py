"""Whole words and spans, against plain loops like those of the papers' code."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from objective.masking_rows import (
    MASKING,
    Rows,
    Sequence,
    alone,
    make_sequences,
    mask_rows,
    masks_of_sequences,
    seeds_of,
)
from scipy import stats

from bert_jax.objective import mask_choice
from bert_jax.random_bits import bits_at, fold

LENGTH = 128
# The draws of `mask_tokens`, by their sites.
ORDER, ACTION, SPAN = 0, 1, 3


def bits_of(rows: Rows, site: int) -> np.ndarray:
    """uint32[B, L], the bits of each row's one sequence at each position."""
    positions_L = np.arange(LENGTH, dtype=np.int32)
    return np.asarray(bits_at(fold(site, seeds_of(rows)), positions_L))


def words_of(sequence: Sequence) -> list[list[int]]:
    """Positions of each word; a special is in none and ends one."""
    words: list[list[int]] = []
    is_open = False
    for i, (token, begins) in enumerate(zip(*sequence, strict=True)):
        if token in MASKING.special_ids:
            is_open = False
        elif begins or not is_open:
            words.append([i])
            is_open = True
        else:
            words[-1].append(i)
    return words


def in_order(words: list[list[int]], bits_L: np.ndarray) -> list[list[int]]:
    return sorted(words, key=lambda word: (-int(bits_L[word[0]] >> 8), word[0]))


def num_wanted(sequence: Sequence, rate: float) -> int:
    n = len(sequence.ids)
    return min(MASKING.max_predictions, max(1, round(n * rate)))


def greedy_words(
    ordered: list[list[int]], wanted: int, *, passes_over: bool = True
) -> set[int]:
    """create_masked_lm_predictions of 2018 with do_whole_word_mask."""
    masked: set[int] = set()
    for word in ordered:
        if len(masked) >= wanted:
            break
        if len(masked) + len(word) > wanted:
            if passes_over:
                continue
            break
        masked.update(word)
    return masked or ({ordered[0][0]} if ordered else set())


def greedy_spans(
    ordered: list[list[int]],
    words: list[list[int]],
    num_words: np.ndarray,
    wanted: int,
    *,
    passes_over: bool = True,
) -> dict[int, int]:
    """PairWithSpanMaskingScheme.mask of SpanBERT: masked position → its anchor."""
    masked: dict[int, int] = {}
    for anchor, *_ in ordered:
        if len(masked) >= wanted:
            break
        if anchor in masked and passes_over:
            continue
        first = next(i for i, word in enumerate(words) if word[0] == anchor)
        before = anchor - 1
        for word in words[first : first + num_words[anchor]]:
            for position in word:
                if position != before + 1:  # behind a special
                    break
                before = position
                if len(masked) < wanted:
                    masked.setdefault(position, anchor)
            else:
                continue
            break
    return masked


@pytest.fixture(scope="module")
def word_rows() -> tuple[list[Sequence], Rows]:
    """1500 sequences; words of 1.4, of 2, or of 4 tokens on average, some very long."""
    lengths = np.random.default_rng(2).integers(3, LENGTH + 1, 1500)
    sequences = [
        sequence
        for seed, start_rate in enumerate((0.7, 0.5, 0.25))
        for sequence in make_sequences(
            lengths[seed * 500 : (seed + 1) * 500], seed=seed, start_rate=start_rate
        )
    ]
    return sequences, alone(sequences, LENGTH)


def masks(rows: Rows, kind: str, rate: float) -> dict[int, set[int]]:
    masking = dataclasses.replace(MASKING, kind=kind, mask_rates=(rate,))
    found = masks_of_sequences(rows, mask_rows(rows, masking))
    return {number: set(positions) for number, (positions, _) in found.items()}


@pytest.fixture(scope="module")
def ordered_words(word_rows) -> list[list[list[int]]]:
    """The words of each sequence in the order that they are tried in."""
    sequences, rows = word_rows
    bits_BL = bits_of(rows, ORDER)
    return [
        in_order(words_of(s), bits_L) for s, bits_L in zip(sequences, bits_BL, strict=True)
    ]


def share_unlike(found: dict[int, set[int]], expected: list[set[int]]) -> float:
    return float(np.mean([found[i] != positions for i, positions in enumerate(expected)]))


@pytest.mark.parametrize("rate", [0.15, 0.3])
def test_whole_words_are_those_of_2018(word_rows, ordered_words, rate):
    sequences, rows = word_rows
    expected = [
        greedy_words(words, num_wanted(s, rate))
        for s, words in zip(sequences, ordered_words, strict=True)
    ]
    found = masks(rows, "whole_word", rate)
    longest = [max(map(len, words), default=0) for words in ordered_words]
    is_exact = [n <= 7 for n in longest]
    assert 0.3 < np.mean(is_exact) < 0.95 and max(longest) > 15
    for i in np.flatnonzero(is_exact):
        assert found[i] == expected[i]
    assert share_unlike(found, expected) < 0.001
    stopped = [
        greedy_words(words, num_wanted(s, rate), passes_over=False)
        for s, words in zip(sequences, ordered_words, strict=True)
    ]
    assert share_unlike(found, stopped) > 0.1


def expected_spans(
    word_rows, ordered_words, rate: float, *, passes_over: bool = True
) -> list[dict[int, int]]:
    """Masked position → anchor, of each sequence."""
    sequences, rows = word_rows
    # Geometric with 0.2, at most 10 words.
    shares = stats.geom.cdf(np.arange(1, 10), 0.2) / stats.geom.cdf(10, 0.2)
    num_words_BL = 1 + np.searchsorted(shares, bits_of(rows, SPAN) / 2**32, side="right")
    return [
        greedy_spans(
            ordered, words_of(s), num_words_L, num_wanted(s, rate), passes_over=passes_over
        )
        for s, ordered, num_words_L in zip(
            sequences, ordered_words, num_words_BL, strict=True
        )
    ]


@pytest.mark.parametrize("rate", [0.15, 0.5])
def test_spans_are_those_of_the_sequential_loop(word_rows, ordered_words, rate):
    expected = [set(s) for s in expected_spans(word_rows, ordered_words, rate)]
    found = masks(word_rows[1], "span", rate)
    assert share_unlike(found, expected) == 0
    all_kept = expected_spans(word_rows, ordered_words, rate, passes_over=False)
    assert share_unlike(found, [set(s) for s in all_kept]) > 0.02


def test_the_tokens_of_a_span_are_replaced_alike(word_rows, ordered_words):
    """By the bits of the anchor; what the random words are is drawn for each token."""
    sequences, rows = word_rows
    masking = dataclasses.replace(MASKING, kind="span", vocab_size=2**30)
    after = masks_of_sequences(rows, mask_rows(rows, masking))
    random_words = []
    action_BL = bits_of(rows, ACTION) / 2**32
    for i, spans in enumerate(expected_spans(word_rows, ordered_words, 0.15)):
        if {*spans} != {*after[i][0]}:
            continue
        for position, anchor in spans.items():
            token, action = after[i][1][position], action_BL[i, anchor]
            assert (token == MASKING.mask_id) == (action < 0.8)
            assert (token == sequences[i].ids[position]) == (action >= 0.9)
            if 0.8 <= action < 0.9:
                random_words.append(token)
    assert len(random_words) > 500
    assert len(set(random_words)) == len(random_words)


def test_span_lengths_are_geometric_with_a_mean_of_3_8():
    thresholds = mask_choice._SPAN_THRESHOLDS.astype(np.float64) / 2**32
    shares = np.diff([0, *thresholds, 1])
    assert np.allclose(shares[1:] / shares[:-1], 0.8, atol=1e-6)
    assert abs(shares @ np.arange(1, 11) - 3.8) < 0.01
