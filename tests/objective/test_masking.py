"""Masks: how many, where, what stands there, and what they are a function of."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P
from objective.masking_rows import (
    CLS,
    KINDS,
    MASK,
    MASKING,
    SEP,
    Rows,
    Sequence,
    alone,
    chosen,
    compiled_mask_tokens,
    lay_out,
    make_sequences,
    mask_rows,
    masks_of_sequences,
    packed,
    seeds_of,
    with_slots,
)
from scipy import stats

from bert_jax.objective import masking as masking_module
from bert_jax.objective.masking import MaskedTokens, Masking

LENGTH = 128
NUM_SEQUENCES = 1500
# Of a count's distribution, both tails that a test calls a failure.
TAIL = 1e-7


def masking_of(kind: str) -> Masking:
    return dataclasses.replace(MASKING, kind=kind)


@pytest.fixture(scope="module")
def sequences() -> list[Sequence]:
    """Of 3 to 128 tokens: the longest ones want 19 masks, the shortest have no word."""
    shares = np.random.default_rng(1).random(NUM_SEQUENCES) ** 2
    return make_sequences(3 + np.floor(shares * (LENGTH - 2)).astype(int))


@pytest.fixture(scope="module")
def layouts(sequences) -> dict[str, Rows]:
    return {
        "alone": alone(sequences, LENGTH),
        "packed": packed(sequences, LENGTH, most=5),
        "packed wider": packed(sequences, 256, most=9, seed=1),
    }


@pytest.fixture(scope="module")
def all_masked(layouts) -> dict[tuple[str, str], MaskedTokens]:
    return {
        (kind, name): mask_rows(rows, masking_of(kind))
        for kind in KINDS
        for name, rows in layouts.items()
    }


def is_within(count: int, trials: int, rate: float) -> bool:
    low, high = stats.binom.ppf([TAIL, 1 - TAIL], trials, rate)
    return low <= count <= high


def maskable(rows: Rows) -> np.ndarray:
    return (rows.sequence_ids > 0) & ~np.isin(rows.input_ids, MASKING.special_ids)


def problems(rows: Rows, masked: MaskedTokens, kind: str) -> set[str]:
    """Everything that is wrong with these masks, as names."""
    found = set()
    row, place = chosen(masked)
    is_chosen_BL = np.zeros(rows.input_ids.shape, bool)
    is_chosen_BL[row, place] = True
    if (is_chosen_BL & ~maskable(rows)).any():
        found.add("special or padding chosen")
    if (np.diff(np.sort(masked.positions, axis=1), axis=1) <= 0).any():
        found.add("place twice")
    if set(np.unique(masked.weights)) - {0.0, 1.0} or (np.diff(masked.weights) > 0).any():
        found.add("weights")
    restored = masked.input_ids.copy()
    restored[row, place] = masked.labels[masked.weights > 0]
    if not np.array_equal(restored, rows.input_ids):
        found.add("original lost")

    counts, most = [], []
    for slot in range(rows.numbers.shape[1]):
        inside_BL = rows.sequence_ids == slot + 1
        lengths_B, words_B = inside_BL.sum(1), (inside_BL & maskable(rows)).sum(1)
        wanted = [min(MASKING.max_predictions, max(1, round(n * 0.15))) for n in lengths_B]
        counts += (is_chosen_BL & inside_BL).sum(1).tolist()
        most += np.minimum(wanted, words_B).tolist()
    is_short = np.array(counts) < most
    if (np.array(counts) > most).any() or (kind != "whole_word" and is_short.any()):
        found.add("number")
    # Whole words that do not fit are passed over; in the end hardly a place stays empty.
    if sum(counts) < 0.97 * sum(most):
        found.add("rate")
    if (np.minimum(most, 1) > counts).any():
        found.add("no prediction")

    if kind == "span":  # what replaces the tokens of a span is drawn once: take one
        _, first = np.unique(row, return_index=True)
        row, place = row[first], place[first]
    before, after = rows.input_ids[row, place], masked.input_ids[row, place]
    by_chance = 1 / MASKING.vocab_size  # a random word is the word itself, or [MASK]
    for rate, count in (
        (0.8 + 0.1 * by_chance, (after == MASK).sum()),
        (0.1 + 0.1 * by_chance, (after == before).sum()),
        (0.1 - 0.2 * by_chance, ((after != MASK) & (after != before)).sum()),
    ):
        if not is_within(count, len(row), rate):
            found.add("80/10/10")
    return found


@pytest.mark.parametrize("name", ["alone", "packed", "packed wider"])
@pytest.mark.parametrize("kind", KINDS)
def test_masks_are_as_they_should_be(layouts, all_masked, kind, name):
    masked = all_masked[kind, name]
    assert problems(layouts[name], masked, kind) == set()
    assert masked.input_ids.dtype == masked.positions.dtype == np.int32
    assert masked.labels.dtype == np.int32 and masked.weights.dtype == np.float32


def move_a_prediction(rows: Rows, masked: MaskedTokens, to: int) -> MaskedTokens:
    """The first prediction of row 0 stands at `to` instead, correctly labelled."""
    positions, labels = masked.positions.copy(), masked.labels.copy()
    inputs = masked.input_ids.copy()
    inputs[0, positions[0, 0]] = labels[0, 0]
    positions[0, 0], labels[0, 0] = to, rows.input_ids[0, to]
    return masked._replace(input_ids=inputs, positions=positions, labels=labels)


def without_predictions_of_row_0(rows: Rows, masked: MaskedTokens) -> MaskedTokens:
    inputs, weights = masked.input_ids.copy(), masked.weights.copy()
    inputs[0], weights[0] = rows.input_ids[0], 0
    return masked._replace(input_ids=inputs, weights=weights)


def always_mask(rows: Rows, masked: MaskedTokens) -> MaskedTokens:
    inputs = masked.input_ids.copy()
    inputs[chosen(masked)] = MASK
    return masked._replace(input_ids=inputs)


BREAKAGES = {
    "special or padding chosen": lambda rows, m: move_a_prediction(rows, m, LENGTH - 1),
    "place twice": lambda rows, m: move_a_prediction(rows, m, int(m.positions[0, 1])),
    "weights": lambda rows, m: m._replace(weights=m.weights[:, ::-1]),
    "original lost": lambda rows, m: m._replace(labels=np.roll(m.labels, 1, axis=0)),
    "no prediction": without_predictions_of_row_0,
    "80/10/10": always_mask,
}


@pytest.mark.parametrize("problem", BREAKAGES)
def test_broken_masks_are_found(layouts, all_masked, problem):
    rows, masked = layouts["packed"], all_masked["token", "packed"]
    assert problem in problems(rows, BREAKAGES[problem](rows, masked), "token")


@pytest.mark.parametrize(
    ("rate", "problem"), [(0.14, "number"), (0.16, "number"), (0.1, "rate")]
)
def test_another_rate_is_found(layouts, rate, problem):
    masking = dataclasses.replace(MASKING, mask_rates=(rate,))
    rows = layouts["alone"]
    assert problem in problems(rows, mask_rows(rows, masking), "token")


@pytest.mark.parametrize("kind", KINDS)
def test_packing_changes_no_mask(layouts, all_masked, kind):
    """Neither which tokens of a sequence are masked, nor what stands there."""
    expected = masks_of_sequences(layouts["alone"], all_masked[kind, "alone"])
    for name in ("packed", "packed wider"):
        found = masks_of_sequences(layouts[name], all_masked[kind, name])
        assert found == expected
    assert len(layouts["packed"].input_ids) < 0.5 * len(layouts["alone"].input_ids)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("broken", ["bits of the row", "positions of the row"])
def test_a_mask_that_depends_on_packing_is_found(
    sequences, layouts, all_masked, kind, broken
):
    rows = layouts["packed"]
    seeds_BS = seeds_of(rows)
    if broken == "bits of the row":
        seeds_BS = np.broadcast_to(seeds_BS[:, :1], seeds_BS.shape)
    else:
        positions_BL = np.broadcast_to(np.arange(LENGTH), rows.position_ids.shape)
        rows = rows._replace(position_ids=positions_BL.astype(np.int32))
    expected = masks_of_sequences(layouts["alone"], all_masked[kind, "alone"])
    found = masks_of_sequences(rows, mask_rows(rows, masking_of(kind), seeds_BS=seeds_BS))
    first, behind = rows.numbers[:, 0], rows.numbers[:, 1:]
    long = [i for i in behind[behind >= 0] if len(sequences[i].ids) > 20]
    assert all(found[i] == expected[i] for i in first)
    assert np.mean([found[i] != expected[i] for i in long]) > 0.8


@pytest.mark.parametrize("rate", [0.15, 0.1, 0.35])
@pytest.mark.parametrize("most", [3, 20, 76])
def test_number_of_masks_is_that_of_2018(rate, most):
    """For every length a row can have; [CLS] and [SEP] count, as in 2018."""
    lengths = np.arange(6, 257)
    rows = alone(make_sequences(lengths), 256)
    masking = dataclasses.replace(MASKING, mask_rates=(rate,), max_predictions=most)
    found = mask_rows(rows, masking)
    expected = [min(most, max(1, round(int(n) * rate))) for n in lengths]
    assert (
        found.weights.sum(axis=1).tolist()
        == np.minimum(expected, maskable(rows).sum(axis=1)).tolist()
    )
    assert found.positions.shape == (len(lengths), most)


def test_each_row_has_the_rate_of_its_stage(layouts, all_masked):
    rows = layouts["packed"]
    stages_B = np.arange(len(rows.input_ids), dtype=np.int32) % 2
    masking = dataclasses.replace(MASKING, mask_rates=(0.15, 0.3))
    together = mask_rows(rows, masking, stages_B=stages_B)
    masking = dataclasses.replace(MASKING, mask_rates=(0.3,))
    alike = (all_masked["token", "packed"], mask_rows(rows, masking))
    assert not np.array_equal(alike[0].input_ids, alike[1].input_ids)
    for stage in (0, 1):
        is_in_B = stages_B == stage
        assert np.array_equal(together.input_ids[is_in_B], alike[stage].input_ids[is_in_B])


def test_every_position_is_chosen_equally_often():
    """Each within binomial bounds; [CLS], [SEP], [UNK] and padding never."""
    rows = alone(make_sequences(np.full(1, 60)) * 4000, 64)
    _, place = chosen(mask_rows(rows, MASKING))
    counts = np.bincount(place, minlength=64)
    is_word = maskable(rows)[0]
    assert (counts[~is_word] == 0).all()
    rate = 9 / is_word.sum()
    assert all(is_within(count, 4000, rate) for count in counts[is_word])


def test_random_words_are_even_over_the_vocabulary(sequences):
    """Specials too, as in 2018, and independent of the choice between the actions."""
    rows = alone(sequences, LENGTH)
    counts = np.zeros(MASKING.vocab_size)
    for epoch in range(10):
        masked = mask_rows(rows, MASKING, seeds_BS=seeds_of(rows, epoch=epoch))
        row, place = chosen(masked)
        after = masked.input_ids[row, place]
        is_random = (after != MASK) & (after != rows.input_ids[row, place])
        counts += np.bincount(after[is_random], minlength=MASKING.vocab_size)
    counts = np.delete(counts, MASK)
    assert counts.mean() > 9
    assert stats.chisquare(counts).pvalue > TAIL
    assert counts[[0, 1, 2, 3]].min() > 0
    assert stats.chisquare(np.where(np.arange(999) < 200, 0.5, 1) * counts).pvalue < TAIL


@pytest.mark.parametrize("kind", KINDS)
def test_masks_depend_on_seed_epoch_and_example_alone(sequences, layouts, all_masked, kind):
    rows, masking = layouts["alone"], masking_of(kind)
    expected = masks_of_sequences(rows, all_masked[kind, "alone"])
    order = np.random.default_rng(0).permutation(NUM_SEQUENCES)
    shuffled = lay_out(sequences, [[i] for i in order.tolist()], LENGTH)
    assert masks_of_sequences(shuffled, mask_rows(shuffled, masking)) == expected
    for seeds_BS in (
        seeds_of(rows, seed=1),
        seeds_of(rows, epoch=1),
        seeds_of(rows._replace(numbers=rows.numbers + 1)),
    ):
        other = masks_of_sequences(rows, mask_rows(rows, masking, seeds_BS=seeds_BS))
        # As good as new: few masks are those of before.
        shared = [
            len({*other[i][0]} & {*expected[i][0]}) / len(expected[i][0])
            for i in range(NUM_SEQUENCES)
            if len(sequences[i].ids) > 40
        ]
        assert 0.1 < np.mean(shared) < 0.22


@pytest.mark.parametrize("kind", KINDS)
def test_a_sequence_without_words_is_left_alone(kind):
    none, one = [CLS, SEP, SEP], [CLS, 7, SEP, SEP]
    pieces = [Sequence(np.array(ids), np.zeros(len(ids), bool)) for ids in (none, one)]
    rows = lay_out(pieces, [[0, 1], [0], [1, 0], []], 8)
    masked = mask_rows(rows, masking_of(kind))
    assert masked.weights.sum(axis=1).tolist() == [1, 0, 1, 0]
    assert masked.positions[[0, 2], 0].tolist() == [4, 1]
    assert masked.labels[[0, 2], 0].tolist() == [7, 7]
    assert np.array_equal(masked.input_ids[[1, 3]], rows.input_ids[[1, 3]])


@pytest.mark.parametrize("kind", KINDS)
def test_masks_are_the_same_on_a_mesh(layouts, all_masked, kind):
    rows = Rows(*(array[:64] for array in layouts["packed"]))
    arrays = (*rows[:4], seeds_of(rows), np.zeros(64, np.int32))
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    placed = jax.device_put(arrays, NamedSharding(mesh, P("data")))
    found = compiled_mask_tokens(*placed, masking=with_slots(masking_of(kind), rows))
    assert len(found.input_ids.sharding.device_set) == 8
    for array, expected in zip(found, all_masked[kind, "packed"], strict=True):
        assert np.array_equal(array, expected[:64])


@pytest.mark.parametrize("share", [0.0, 0.15, 1.0])
def test_places_are_those_of_top_k(share: float) -> None:
    """The chosen in order, then the others in order, as equal scores are put."""
    is_chosen_BL = np.random.default_rng(0).random((64, LENGTH)) < share
    places_BP = masking_module._places_chosen_first(is_chosen_BL, 24)
    _, expected_BP = jax.lax.top_k(is_chosen_BL.astype(np.float32), 24)
    np.testing.assert_array_equal(places_BP, expected_BP)
