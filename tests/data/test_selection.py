"""Few shards of many ranges; sources lie in them one after the other."""

from __future__ import annotations

import pytest
from data.corpora_by_hand import (
    config_of,
    made_up_documents,
    prepare_quietly,
    texts_of_split,
    write_texts,
)

from bert_jax.data import ranges, selection
from bert_jax.data.ranges import Range
from bert_jax.data.selection import MAX_SHARDS, plan_shards


@pytest.mark.parametrize("count", [1, 7, MAX_SHARDS, MAX_SHARDS + 1, 70_001])
def test_every_range_is_in_one_shard_in_order(count):
    parts = [Range(i, 0, 10 * i, 10 * i + 10, 10 * i) for i in range(count)]
    shards = plan_shards(parts)
    assert [shard.index for shard in shards] == list(range(min(count, MAX_SHARDS)))
    assert [part for shard in shards for part in shard.ranges] == parts
    sizes = {len(shard.ranges) for shard in shards}
    assert max(sizes) - min(sizes) <= 1


def test_both_splits_of_the_largest_corpus_can_be_open_at_once():
    """Each shard that is mapped holds a file open; 1024 is the limit on many machines."""
    assert 2 * (MAX_SHARDS + 2) < 1024 / 2


def test_the_number_of_shards_changes_no_text(tmp_path, monkeypatch):
    monkeypatch.setenv("BERT_JAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(ranges, "MIN_RANGE_BYTES", 5000)
    source = write_texts(tmp_path / "texts.txt", made_up_documents(0, 80))
    many = prepare_quietly(config_of(source), tmp_path / "many")
    monkeypatch.setattr(selection, "MAX_SHARDS", 2)
    few = prepare_quietly(config_of(source), tmp_path / "few")
    assert few.splits["train"]["shards"] == 2 < many.splits["train"]["shards"]
    for split in ("train", "eval"):
        assert texts_of_split(tmp_path / "few", few, split) == texts_of_split(
            tmp_path / "many", many, split
        )
