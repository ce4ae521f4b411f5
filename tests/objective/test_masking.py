"""Masks: how many, where, what stands there, and what they are a function of."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bert_jax.objective.masking import MaskedTokens, Masking, mask_tokens
from bert_jax.random_bits import fold

CLS, SEP, MASK = 2, 3, 4
MASKING = Masking(
    mask_rate=0.15,
    max_predictions=20,
    mask_id=MASK,
    special_ids=(0, 1, CLS, SEP, MASK),
    vocab_size=1000,
)
ROWS, LENGTH = 4000, 128


def make_rows(lengths_B: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """[CLS] words [SEP] words [SEP], one [UNK] among them, padded."""
    rng = np.random.default_rng(0)
    rows = np.arange(len(lengths_B))
    ids_BL = rng.integers(5, MASKING.vocab_size, (len(lengths_B), length))
    ids_BL[:, 0] = CLS
    ids_BL[rows, lengths_B // 2] = SEP
    ids_BL[rows, lengths_B // 2 + 1] = 1
    ids_BL[rows, lengths_B - 1] = SEP
    mask_BL = np.arange(length) < lengths_B[:, None]
    return np.where(mask_BL, ids_BL, 0).astype(np.int32), mask_BL.astype(np.int32)


@pytest.fixture(scope="module")
def rows():
    """Rows of 10 to 128 tokens: the longest ones want 19 masks."""
    lengths_B = np.random.default_rng(1).integers(10, LENGTH + 1, ROWS)
    return make_rows(lengths_B, LENGTH)


@pytest.fixture(scope="module")
def masked(rows) -> MaskedTokens:
    seeds_B = fold(0, 0, jnp.arange(ROWS))
    return jax.tree.map(np.asarray, mask_tokens(*map(jnp.asarray, rows), seeds_B, MASKING))


def chosen(masked: MaskedTokens) -> tuple[np.ndarray, np.ndarray]:
    """Row and position of every prediction."""
    row, place = np.nonzero(masked.weights)
    return row, masked.positions[row, place]


def test_only_words_are_chosen_and_each_once(rows, masked):
    ids_BL, mask_BL = rows
    row, position = chosen(masked)
    assert np.isin(ids_BL[row, position], MASKING.special_ids).sum() == 0
    assert mask_BL[row, position].all()
    assert len(set(zip(row.tolist(), position.tolist(), strict=True))) == len(row)
    assert set(np.unique(masked.weights)) == {0.0, 1.0}


def test_positions_of_unused_places_are_distinct_too(masked):
    sorted_BP = np.sort(masked.positions, axis=1)
    assert (np.diff(sorted_BP, axis=1) > 0).all()
    assert sorted_BP[:, 0].min() >= 0 and sorted_BP[:, -1].max() < LENGTH


@pytest.mark.parametrize("rate", [0.15, 0.1, 0.35])
@pytest.mark.parametrize("most", [3, 20, 76])
def test_number_of_masks_is_that_of_2018(rate, most):
    """For every length a row can have; [CLS] and [SEP] count, as in 2018."""
    lengths_B = np.arange(6, 513)
    ids_BL, mask_BL = make_rows(lengths_B, 512)
    masking = dataclasses.replace(MASKING, mask_rate=rate, max_predictions=most)
    found = mask_tokens(ids_BL, mask_BL, fold(0, jnp.arange(len(lengths_B))), masking)
    expected = [min(most, max(1, round(int(n) * rate))) for n in lengths_B]
    maskable_B = (ids_BL > 4).sum(axis=1)
    assert found.weights.sum(axis=1).tolist() == np.minimum(expected, maskable_B).tolist()
    assert found.positions.shape == (len(lengths_B), most)


def test_actions_are_80_10_10(rows, masked):
    row, position = chosen(masked)
    before, after = rows[0][row, position], masked.input_ids[row, position]
    n = len(row)
    assert n > 30_000
    kept = 0.1 + 0.1 / MASKING.vocab_size  # a random word may be the word itself
    for rate, count in (
        (0.8, (after == MASK).sum()),
        (kept, (after == before).sum()),
        (0.2 - kept, ((after != MASK) & (after != before)).sum()),
    ):
        # A random word is [MASK] in one of 1000.
        assert abs(count / n - rate) < 5 * np.sqrt(rate * (1 - rate) / n) + 0.1 / 1000


def test_random_words_are_even_over_the_vocabulary(rows):
    ids_BL, mask_BL = rows
    counts = np.zeros(MASKING.vocab_size)
    for epoch in range(8):
        masked = mask_tokens(ids_BL, mask_BL, fold(0, epoch, jnp.arange(ROWS)), MASKING)
        row, position = chosen(jax.tree.map(np.asarray, masked))
        after = np.asarray(masked.input_ids)[row, position]
        is_random = (after != MASK) & (after != ids_BL[row, position])
        counts += np.bincount(after[is_random], minlength=MASKING.vocab_size)
    counts = np.delete(counts, MASK)
    expected = counts.mean()
    assert expected > 20
    deviations = ((counts - expected) ** 2 / expected).sum() - len(counts)
    assert abs(deviations) < 5 * np.sqrt(2 * len(counts))
    assert counts[[0, 1, 2, 3]].min() > 0  # specials too, as in 2018


def test_choice_action_and_word_are_independent_of_each_other():
    """Bits of place p of one draw say nothing of place p of another, here at p = 0 … 18."""
    many = dataclasses.replace(MASKING, vocab_size=2**30, max_predictions=19)
    ids_BL = np.random.default_rng(0).integers(5, 1000, (ROWS, LENGTH)).astype(np.int32)
    masked = mask_tokens(ids_BL, np.ones_like(ids_BL), fold(0, jnp.arange(ROWS)), many)
    masked = jax.tree.map(np.asarray, masked)
    assert masked.weights.all()
    after_BP = np.take_along_axis(masked.input_ids, masked.positions, axis=1)
    is_chosen_BL = np.zeros(ids_BL.shape, bool)
    np.put_along_axis(is_chosen_BL, masked.positions, True, axis=1)
    is_same_place_chosen_BP = is_chosen_BL[:, :19]
    # Among 2³⁰ words none is drawn that is the label or [MASK] by chance.
    is_random_BP = (after_BP != MASK) & (after_BP != masked.labels)
    for is_counted_BP in (np.ones_like(is_random_BP), is_same_place_chosen_BP):
        n = is_counted_BP.sum()
        assert n > 10_000
        masks = (after_BP == MASK)[is_counted_BP].mean()
        assert abs(masks - 0.8) < 5 * np.sqrt(0.8 * 0.2 / n)
        words = after_BP[is_random_BP & is_counted_BP] / many.vocab_size
        shares, _ = np.histogram(words, bins=5, range=(0, 1))
        assert np.abs(shares / len(words) - 0.2).max() < 5 * np.sqrt(0.16 / len(words))


def test_every_position_is_chosen_equally_often():
    ids_BL, mask_BL = make_rows(np.full(ROWS, 60), 64)
    masked = mask_tokens(ids_BL, mask_BL, fold(3, jnp.arange(ROWS)), MASKING)
    _, position = chosen(jax.tree.map(np.asarray, masked))
    counts = np.bincount(position, minlength=64)
    maskable = (ids_BL[0] > 4) & (mask_BL[0] > 0)
    assert (counts[~maskable] == 0).all()
    rate = 9 / maskable.sum()
    sigma = np.sqrt(ROWS * rate * (1 - rate))
    assert np.abs(counts[maskable] - ROWS * rate).max() < 5 * sigma


def test_the_original_can_be_put_back(rows, masked):
    ids_BL, _ = rows
    row, position = chosen(masked)
    restored = masked.input_ids.copy()
    restored[row, position] = masked.labels[masked.weights > 0]
    assert np.array_equal(restored, ids_BL)
    assert not np.array_equal(masked.input_ids, ids_BL)


def test_masks_depend_on_seed_epoch_and_example_alone(rows, masked):
    ids_BL, mask_BL = rows
    order = np.random.default_rng(0).permutation(ROWS)[:50]

    def draw(seed: int, epoch: int, examples: np.ndarray) -> MaskedTokens:
        return mask_tokens(
            ids_BL[order], mask_BL[order], fold(seed, epoch, examples), MASKING
        )

    for found, expected in zip(draw(0, 0, order), masked, strict=True):
        assert np.array_equal(found, expected[order])
    for other in (draw(1, 0, order), draw(0, 1, order), draw(0, 0, order + 1)):
        assert not np.array_equal(other.positions, masked.positions[order])
    # In another epoch a row's masks are as good as new: few are those of before.
    first, second = (draw(0, epoch, order) for epoch in (0, 1))
    shared = np.mean(
        [
            np.isin(a[w > 0], b[w > 0]).mean()
            for a, b, w in zip(
                *map(np.asarray, (first.positions, second.positions, first.weights)),
                strict=True,
            )
        ]
    )
    assert shared < 0.3


def test_a_longer_row_of_padding_changes_no_mask(rows):
    """The bits of a position do not depend on how wide the batch is."""
    ids_BL, mask_BL = make_rows(np.full(20, 50), 64)
    seeds_B = fold(0, jnp.arange(20))
    narrow = mask_tokens(ids_BL, mask_BL, seeds_B, MASKING)
    padding = ((0, 0), (0, 32))
    wide = mask_tokens(np.pad(ids_BL, padding), np.pad(mask_BL, padding), seeds_B, MASKING)
    assert np.array_equal(wide.input_ids[:, :64], narrow.input_ids)
    used = narrow.weights > 0
    assert np.array_equal(wide.positions[used], narrow.positions[used])


def test_a_row_without_words_is_left_alone():
    ids_BL = np.array([[CLS, SEP, SEP, 0], [CLS, 7, SEP, SEP], [0, 0, 0, 0]], np.int32)
    mask_BL = (ids_BL > 0).astype(np.int32)
    masking = dataclasses.replace(MASKING, max_predictions=3)
    masked = jax.tree.map(
        np.asarray, mask_tokens(ids_BL, mask_BL, fold(0, jnp.arange(3)), masking)
    )
    assert masked.weights.sum(axis=1).tolist() == [0, 1, 0]
    assert np.array_equal(masked.input_ids[[0, 2]], ids_BL[[0, 2]])
    assert masked.positions[1, 0] == 1 and masked.labels[1, 0] == 7


def test_compiled_masks_are_the_same(rows, masked):
    seeds_B = fold(0, 0, jnp.arange(ROWS))
    compiled = jax.jit(lambda i, m, s: mask_tokens(i, m, s, MASKING))(*rows, seeds_B)
    for found, expected in zip(compiled, masked, strict=True):
        assert np.array_equal(found, expected)
