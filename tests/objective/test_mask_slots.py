"""Places for predictions: no way to pack a row wants more than there are."""

from __future__ import annotations

import dataclasses
import itertools

import jax
import numpy as np
import pytest
from objective.masking_rows import MASKING, make_sequences, packed, seeds_of, with_slots

from bert_jax.objective.masking import mask_tokens, slots_per_row


def partitions(total: int, most: int, low: int = 1) -> itertools.chain[list[int]]:
    """All multisets of at most `most` lengths that add up to `total`."""
    if most == 0 or total < low:
        return itertools.chain()
    longer = (
        [first, *rest]
        for first in range(low, total // 2 + 1)
        for rest in partitions(total - first, most - 1, first)
    )
    return itertools.chain([[total]], longer)


@pytest.mark.parametrize("rates", [(0.15,), (0.1, 0.35), (0.5,), (0.9,), (1e-9,)])
def test_no_way_to_pack_a_row_wants_more_than_its_slots(rates):
    """All ways for rows of up to 24 tokens; one slot less for a sequence is too few."""
    is_tight = False
    for total, num_sequences, cap in itertools.product(range(1, 25), (1, 2, 3, 6), (1, 20)):
        slots = slots_per_row(total, num_sequences, cap, rates)
        for lengths in partitions(total, num_sequences):
            for rate in rates:
                # A sequence chooses no more tokens than it has.
                wanted = sum(min(cap, n, max(1, round(n * rate))) for n in lengths)
                assert wanted <= slots
                is_tight |= wanted > slots - len(lengths)
    assert is_tight


def test_slots_of_a_row_without_packing_are_the_limit_of_a_sequence():
    assert slots_per_row(128, 1, 20, (0.15,)) == 20
    assert slots_per_row(512, 8, 76, (0.15,)) == 77 + 8
    assert slots_per_row(512, 2, 20, (0.15, 0.3)) == 40
    assert slots_per_row(6, 8, 76, (0.15,)) == 6


def test_too_few_slots_are_refused():
    rows = packed(make_sequences(np.full(20, 20)), 64, most=3)
    enough = with_slots(MASKING, rows)
    few = dataclasses.replace(enough, num_predictions=enough.num_predictions - 1)
    arrays = (*rows[:4], seeds_of(rows), np.zeros(len(rows.input_ids), np.int32))
    assert jax.eval_shape(lambda: mask_tokens(*arrays, enough)).weights.shape[1] == 13
    with pytest.raises(AssertionError, match="dropped"):
        jax.eval_shape(lambda: mask_tokens(*arrays, few))
