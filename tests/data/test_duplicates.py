"""Exact duplicates and near-duplicates leave, wherever they stand; nothing else does."""

from __future__ import annotations

import random

import numpy as np
import pytest
from data.corpora_by_hand import (
    config_of,
    made_up_documents,
    prepare_quietly,
    texts_of_split,
    write_texts,
)

from bert_jax.data import duplicates, ranges
from bert_jax.data.duplicates import (
    Bucket,
    DuplicatesStage,
    are_left_out,
    first_of_each,
    num_buckets,
    place_of,
    spill_path,
    text_hash,
)
from bert_jax.data.files import save_array


@pytest.fixture(autouse=True)
def surroundings(monkeypatch, tmp_path):
    monkeypatch.setenv("BERT_JAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(ranges, "MIN_RANGE_BYTES", 10_000)


def test_the_hash_of_a_text_is_blind_to_white_space_alone():
    assert text_hash("One two.\n\nThree") == text_hash(" One\ttwo.  Three\n")
    assert text_hash("One two.") != text_hash("one two.")
    assert text_hash("a b") != text_hash("ab")
    text_hash("\ud800")  # a lone surrogate is no error


def test_the_first_training_document_stays_else_the_first_held_out_one():
    places = [place_of(0, True), place_of(1, False), place_of(2, False), place_of(3, True)]
    rows, others = first_of_each(np.full(4, 7, np.uint64), np.array(places, np.uint64))
    assert rows.tolist() == [[7, places[1]]]
    assert set(others.tolist()) == {places[0], places[2], places[3]}
    rows, others = first_of_each(
        np.array([7, 7], np.uint64), np.array([places[3], places[0]], np.uint64)
    )
    assert rows[0, 1] == places[0] and others.tolist() == [places[3]]


@pytest.mark.parametrize(
    ("rows", "count"), [(0, 1), (1, 1), (1 << 20, 1), ((1 << 20) + 1, 2), (5 << 20, 8)]
)
def test_the_number_of_buckets_bounds_their_size(rows, count):
    assert num_buckets(rows) == count


@pytest.mark.parametrize("count", [1, 2, 16])
def test_the_buckets_together_find_what_a_dictionary_finds(tmp_path, count):
    rng = np.random.default_rng(0)
    # Few different hashes, spread over all of 64 bits, with the least and the greatest.
    ends = np.array([0, 2**64 - 1], np.uint64)
    values = np.concatenate([rng.integers(0, 2**64, 300, np.uint64), ends])
    hashes = rng.choice(values, 2000)
    hashes[:4] = [*ends, *ends]
    places = np.array([place_of(i, bool(rng.random() < 0.2)) for i in range(2000)], "u8")
    everyone: list[int] = []
    for index, part in enumerate(np.array_split(np.arange(2000), 5)):
        rows, others = first_of_each(hashes[part], places[part])
        save_array(spill_path(tmp_path, "exact", index), rows)
        everyone += others.tolist()
    stage = DuplicatesStage(tmp_path, 5)
    markers = []
    for bucket in range(count):
        stage(Bucket("exact", bucket, count))
        markers.append(stage.marker(Bucket("exact", bucket, count)))
    everyone += places[are_left_out(markers, places)].tolist()
    first: dict[int, int] = {}
    for value, place in zip(hashes.tolist(), places.tolist(), strict=True):
        first[value] = min(first.get(value, place), place)
    assert set(everyone) == set(places.tolist()) - set(first.values())


@pytest.fixture
def doubled(tmp_path):
    """Two sources; the second is half of the first, spaced otherwise, and some new."""
    first = made_up_documents(1, 60)
    again = [[f"{line}  " for line in document] for document in first[::2]]
    second = again + made_up_documents(2, 20)
    return (
        write_texts(tmp_path / "first.txt", first),
        write_texts(tmp_path / "second.txt", second),
    )


def test_duplicates_are_dropped_and_counted_across_sources(doubled, tmp_path):
    manifest = prepare_quietly(config_of(*doubled), tmp_path / "data")
    texts = {
        split: texts_of_split(tmp_path / "data", manifest, split)
        for split in manifest.splits
    }
    together = texts["train"] + texts["eval"]
    assert len(set(together)) == len(together) == 80
    assert manifest.dropped["exact_duplicates"] == 30
    assert manifest.dropped["near_duplicates_of_training_text"] == 0
    # Negative control: without it, texts stand twice.
    kept = prepare_quietly(config_of(*doubled, drop_duplicates=False), tmp_path / "kept")
    assert "exact_duplicates" not in kept.dropped
    assert kept.splits["train"]["documents"] > manifest.splits["train"]["documents"]
    texts = texts_of_split(tmp_path / "kept", kept, "train")
    assert len(set(texts)) < len(texts)


def test_sources_know_their_training_documents(doubled, tmp_path):
    manifest = prepare_quietly(config_of(*doubled), tmp_path / "data")
    texts = texts_of_split(tmp_path / "data", manifest, "train")
    first, second = manifest.sources
    assert first["train_documents"][0] == 0
    assert first["train_documents"][1] == second["train_documents"][0]
    assert second["train_documents"][1] == len(texts)
    assert (
        first["train_tokens"] + second["train_tokens"]
        == (manifest.splits["train"]["tokens"])
    )
    original = {" ".join(d).lower() for d in made_up_documents(1, 60)}
    fresh = {" ".join(d).lower() for d in made_up_documents(2, 20)}
    where = [place for place, text in enumerate(texts) if text in fresh]
    assert len(where) >= 10 and min(where) >= first["train_documents"][1]
    # Of the copies, those stay whose original is held out.
    assert {text for text in texts if text not in fresh} <= original
    assert len(texts) - len(where) - first["train_documents"][1] < 10


@pytest.mark.parametrize(("setting", "size"), [("ROWS_PER_BUCKET", 16), ("", 0)])
def test_neither_ranges_nor_buckets_change_what_stays(
    doubled, tmp_path, monkeypatch, setting, size
):
    expected = prepare_quietly(config_of(*doubled), tmp_path / "data")
    if setting:
        monkeypatch.setattr(duplicates, setting, size)
    else:
        monkeypatch.setattr(ranges, "MIN_RANGE_BYTES", 3000)
    manifest = prepare_quietly(config_of(*doubled), tmp_path / "other")
    assert manifest.splits["train"]["documents"] == expected.splits["train"]["documents"]
    for split in ("train", "eval"):
        assert texts_of_split(tmp_path / "other", manifest, split) == texts_of_split(
            tmp_path / "data", expected, split
        )


def with_edits(document: list[str], rng: random.Random) -> list[str]:
    """The same document with one word of one sentence replaced."""
    edited = list(document)
    place = rng.randrange(len(edited))
    edited[place] = edited[place].replace(edited[place].split()[4], "edited", 1)
    return edited


def test_near_duplicates_of_training_documents_are_dropped_on_request(tmp_path):
    pytest.importorskip("rensa", reason="needs the extra dedup")
    rng = random.Random(0)
    originals = made_up_documents(3, 60, sentences=40)
    copies = [with_edits(document, rng) for document in originals]
    others = made_up_documents(4, 60, sentences=40)
    source = write_texts(tmp_path / "texts.txt", originals + copies + others)
    config = config_of(source, near_duplicates="drop")
    manifest = prepare_quietly(config, tmp_path / "data")
    # Copies of training documents leave; those of held-out ones are on one side or other.
    dropped = manifest.dropped["near_duplicates"]
    assert manifest.dropped["exact_duplicates"] == 0
    assert 45 <= dropped <= 60
    kept = prepare_quietly(config_of(source), tmp_path / "kept")
    assert "near_duplicates" not in kept.dropped
    assert kept.splits["train"]["documents"] == (
        manifest.splits["train"]["documents"] + dropped
    )
    # The first of each pair is the one that stays.
    texts = texts_of_split(tmp_path / "data", manifest, "train")
    assert sum("edited" in text for text in texts) < 15
