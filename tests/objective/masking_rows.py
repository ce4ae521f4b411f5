"""Sequences to mask, alone in a row or several packed together, and what was masked."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import numpy as np

from bert_jax.objective.masking import MaskedTokens, Masking, mask_tokens, slots_per_row
from bert_jax.random_bits import fold

PAD, UNK, CLS, SEP, MASK = range(5)
KINDS = ("token", "whole_word", "span")
MASKING = Masking(
    kind="token",
    mask_rates=(0.15,),
    max_predictions=20,
    num_predictions=20,
    mask_id=MASK,
    special_ids=(PAD, UNK, CLS, SEP, MASK),
    vocab_size=1000,
)

compiled_mask_tokens = jax.jit(mask_tokens, static_argnames="masking")


class Sequence(NamedTuple):
    """[CLS] A [SEP] B [SEP]: int ids[n] and bool word starts[n]."""

    ids: np.ndarray
    word_starts: np.ndarray


class Rows(NamedTuple):
    """What `mask_tokens` takes, and the number of each slot's sequence, −1 for none."""

    input_ids: np.ndarray
    sequence_ids: np.ndarray
    position_ids: np.ndarray
    word_starts: np.ndarray
    numbers: np.ndarray


def make_sequences(
    lengths: np.ndarray, *, seed: int = 0, start_rate: float = 0.7
) -> list[Sequence]:
    """Random words with one [UNK] among them; some pieces stand right behind a special."""
    rng = np.random.default_rng(seed)
    sequences = []
    for n in lengths:
        ids = rng.integers(5, MASKING.vocab_size, n)
        ids[[0, n // 2, n - 1]] = CLS, SEP, SEP
        ids[n // 2 + 1 : n // 2 + 2] = UNK if n > 8 else ids[n // 2 + 1 : n // 2 + 2]
        ids[n - 1] = SEP
        sequences.append(Sequence(ids, rng.random(n) < start_rate))
    return sequences


def lay_out(
    sequences: list[Sequence], rows_of_numbers: list[list[int]], length: int
) -> Rows:
    """Rows that hold the sequences of the given numbers, one behind the other."""
    shape = (len(rows_of_numbers), length)
    rows = Rows(
        np.full(shape, PAD, np.int32),
        np.zeros(shape, np.int32),
        np.zeros(shape, np.int32),
        np.zeros(shape, bool),
        np.full((shape[0], max(map(len, rows_of_numbers))), -1),
    )
    for row, numbers in enumerate(rows_of_numbers):
        place = 0
        for slot, number in enumerate(numbers):
            sequence = sequences[number]
            at = slice(place, place + len(sequence.ids))
            rows.input_ids[row, at] = sequence.ids
            rows.sequence_ids[row, at] = slot + 1
            rows.position_ids[row, at] = np.arange(len(sequence.ids))
            rows.word_starts[row, at] = sequence.word_starts
            rows.numbers[row, slot] = number
            place = at.stop
        assert place <= length
    return rows


def alone(sequences: list[Sequence], length: int) -> Rows:
    return lay_out(sequences, [[i] for i in range(len(sequences))], length)


def packed(sequences: list[Sequence], length: int, *, most: int, seed: int = 0) -> Rows:
    """In random order, into a row as long as there is place, at most `most` together."""
    rows: list[list[int]] = [[]]
    used = 0
    for number in np.random.default_rng(seed).permutation(len(sequences)):
        n = len(sequences[number].ids)
        if used + n > length or len(rows[-1]) == most:
            rows.append([])
            used = 0
        rows[-1].append(int(number))
        used += n
    return lay_out(sequences, rows, length)


def seeds_of(rows: Rows, *, seed: int = 0, epoch: int = 0) -> np.ndarray:
    """uint32[B, S]: a function of the sequence's number, as in training."""
    return np.asarray(fold(seed, epoch, rows.numbers))


def with_slots(masking: Masking, rows: Rows) -> Masking:
    """`masking` with as many places for predictions as these rows need."""
    slots = slots_per_row(
        rows.input_ids.shape[1],
        rows.numbers.shape[1],
        masking.max_predictions,
        masking.mask_rates,
    )
    return dataclasses.replace(masking, num_predictions=slots)


def mask_rows(
    rows: Rows,
    masking: Masking,
    *,
    seeds_BS: np.ndarray | None = None,
    stages_B: np.ndarray | None = None,
) -> MaskedTokens:
    """`mask_tokens`, compiled, as NumPy arrays."""
    masking = with_slots(masking, rows)
    num_rows = len(rows.input_ids)
    masked = compiled_mask_tokens(
        *rows[:4],
        seeds_of(rows) if seeds_BS is None else seeds_BS,
        np.zeros(num_rows, np.int32) if stages_B is None else stages_B,
        masking=masking,
    )
    return jax.tree.map(np.asarray, masked)


def chosen(masked: MaskedTokens) -> tuple[np.ndarray, np.ndarray]:
    """Row and place of every prediction."""
    row, slot = np.nonzero(masked.weights)
    return row, masked.positions[row, slot]


def masks_of_sequences(
    rows: Rows, masked: MaskedTokens
) -> dict[int, tuple[tuple[int, ...], tuple[int, ...]]]:
    """Number of a sequence → its masked positions, and its ids after masking."""
    is_chosen_BL = np.zeros(rows.input_ids.shape, bool)
    is_chosen_BL[chosen(masked)] = True
    found = {}
    for row, slot in zip(*np.nonzero(rows.numbers >= 0), strict=True):
        inside = rows.sequence_ids[row] == slot + 1
        found[int(rows.numbers[row, slot])] = (
            tuple(np.flatnonzero(is_chosen_BL[row, inside]).tolist()),
            tuple(masked.input_ids[row, inside].tolist()),
        )
    return found
