"""Epoch plans: new pairs every epoch, the same number, the same again."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from bert_jax.config_sections import DataConfig
from bert_jax.data import epoch_plan
from bert_jax.data.epoch_plan import EpochPlans
from bert_jax.data.pairs import sequence_lengths
from bert_jax.data.shards import ShardSet

DATA = DataConfig(sequence_length=32)


@pytest.fixture
def directory(prepared, documents):
    return prepared(documents, documents[:20])


def open_plans(directory, split="train", data=DATA):
    shards = ShardSet(directory, split, 2)
    return EpochPlans(directory / "plans", split, shards, data, sentence_task="nsp")


@pytest.mark.parametrize("packing", [1, 4])
def test_every_epoch_serves_as_many_rows_once_each(directory, packing):
    data = DataConfig(sequence_length=64, packing=packing, short_sequence_rate=0.5)
    plans = open_plans(directory, data=data)
    more = fewer = 0
    for epoch in range(12):
        plan = plans[epoch]
        have = plan.rows.num_rows if packing > 1 else len(plan.pairs)
        more, fewer = more + (have > plans.num_rows), fewer + (have < plans.num_rows)
        assert len(plan.order) == plans.num_rows
        assert len(np.unique(plan.order)) == min(plans.num_rows, have)
        assert plan.order.max() < have
    # The recipe gave more for some epochs and fewer for others: both were made to fit.
    assert more and fewer


def test_rows_hold_every_example_once_and_are_not_too_long(directory):
    data = DataConfig(sequence_length=64, packing=3, short_sequence_rate=0.5)
    plans = open_plans(directory, data=data)
    plan = plans[0]
    ids, sizes = plan.examples(np.arange(plans.num_rows))
    assert np.array_equal(np.sort(ids), np.arange(len(plan.pairs)))
    lengths = np.add.reduceat(sequence_lengths(plan.pairs[ids]), np.cumsum(sizes) - sizes)
    assert lengths.max() <= 64 and sizes.max() <= 3 and (sizes > 1).any()
    # Another place of the epoch gives another row, the same as when all are asked for.
    one, size = plan.examples(np.array([5]))
    start = sizes[:5].sum()
    assert np.array_equal(one, ids[start : start + sizes[5]]) and size == sizes[5]


def test_a_source_of_its_own_is_planned_alone(directory):
    shards = ShardSet(directory, "train", 2)
    bounds = shards.sentence_offsets[shards.document_offsets]
    for first, last in ((0, 60), (60, 150)):
        plans = EpochPlans(
            directory / "plans",
            "train",
            shards,
            DATA,
            sentence_task="nsp",
            documents=(first, last),
        )
        for name in ("a_start", "b_start"):
            place = plans[0].pairs[name]
            assert bounds[first] <= place.min() and place.max() < bounds[last]


def test_every_epoch_has_other_pairs_in_another_order(directory):
    plans = open_plans(directory)
    first, second = (set(plans[epoch].pairs.tolist()) for epoch in (0, 1))
    assert len(first & second) < 0.5 * len(first)
    assert not np.array_equal(plans[0].order, plans[1].order)


def test_a_lost_plan_is_made_again_the_same(directory):
    plans = open_plans(directory)
    expected = [(plans[e].pairs.tobytes(), plans[e].order.tobytes()) for e in (0, 5)]
    shutil.rmtree(directory / "plans")
    # The later epoch first: nothing depends on what was made before.
    again = open_plans(directory)
    found = [(again[e].pairs.tobytes(), again[e].order.tobytes()) for e in (5, 0)]
    assert found == expected[::-1]


def test_seed_length_and_rate_each_give_another_plan(directory):
    base = open_plans(directory)[0].pairs.tobytes()
    for change in ({"seed": 1}, {"sequence_length": 40}, {"short_sequence_rate": 0.5}):
        data = DataConfig(**{"sequence_length": 32, **change})
        assert open_plans(directory, data=data)[0].pairs.tobytes() != base
    shards = ShardSet(directory, "train", 2)
    for task in ("sop", "none"):
        other = EpochPlans(directory / "plans", "train", shards, DATA, sentence_task=task)
        assert other[0].pairs.tobytes() != base


def test_held_out_pairs_do_not_depend_on_the_seed(directory):
    plans = [
        open_plans(directory, "eval", DataConfig(sequence_length=32, seed=seed))[0]
        for seed in (0, 1)
    ]
    assert plans[0].pairs.tobytes() == plans[1].pairs.tobytes()
    assert plans[0].order.tobytes() == plans[1].order.tobytes()


def test_blocks_cover_all_documents_once(directory, monkeypatch):
    monkeypatch.setattr(epoch_plan, "SENTENCES_PER_BLOCK", 50)
    monkeypatch.setattr(epoch_plan, "RECIPE_VERSION", "small blocks")
    plans = open_plans(directory)
    shards = ShardSet(directory, "train", 2)
    bounds = shards.sentence_offsets[shards.document_offsets]
    a_start = plans[0].pairs["a_start"]
    assert np.all(np.diff(a_start) > 0)
    covered = np.unique(np.searchsorted(bounds, a_start, side="right") - 1)
    assert np.array_equal(covered, np.arange(len(bounds) - 1))


def test_a_plan_made_ahead_is_the_same(directory):
    expected = open_plans(directory)[1].pairs.tobytes()
    shutil.rmtree(directory / "plans")
    plans = open_plans(directory)
    plans.make_ahead(1)
    assert plans[1].pairs.tobytes() == expected


def test_old_plans_are_cleared_and_no_drafts_are_left(directory):
    plans = open_plans(directory)
    for epoch in range(6):
        assert len(plans[epoch].order)
    (recipe,) = (directory / "plans").iterdir()
    assert sorted(path.name for path in recipe.iterdir()) == [
        "epoch-00004",
        "epoch-00005",
        "num_rows.json",
    ]
