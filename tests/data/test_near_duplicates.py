"""Near-duplicates across the split."""

from __future__ import annotations

import numpy as np
import pytest

from bert_jax.data import near_duplicates
from bert_jax.data.near_duplicates import DuplicateFinder, shingle_hashes
from bert_jax.data.shards import offsets_of


def text(seed: int, length: int = 400) -> np.ndarray:
    return np.random.default_rng(seed).integers(5, 30_000, length).astype(np.uint16)


def find(held_out: list[np.ndarray], training: list[np.ndarray]) -> list[bool]:
    finder = DuplicateFinder(sum(map(len, held_out)))
    lengths = np.array([len(document) for document in held_out])
    # Each document is one sentence.
    finder.add_held_out(
        np.concatenate(held_out), offsets_of(lengths), np.arange(len(held_out) + 1)
    )
    for shard in training:
        finder.add_training(shard)
    return finder.duplicates().tolist()


def with_changes(document: np.ndarray, every: int) -> np.ndarray:
    changed = document.copy()
    changed[::every] += 1
    return changed


def test_copies_are_found_and_unrelated_texts_are_kept():
    held_out = [text(1), text(2), text(3), text(4, 5)]
    training = [
        np.concatenate([text(10), text(1), text(11)]),
        np.concatenate([with_changes(text(2), 40), text(12), text(4, 5)]),
    ]
    assert find(held_out, training) == [True, True, False, False]


def test_a_shared_passage_makes_no_duplicate():
    shared = np.concatenate([text(20, 300), text(1)[:100], text(21, 300)])
    assert find([text(1)], [shared]) == [False]
    assert find([text(1)[:120]], [shared]) == [True]


def test_a_copy_across_chunks_is_found(monkeypatch):
    monkeypatch.setattr(near_duplicates, "_CHUNK_TOKENS", 64)
    held_out = [text(1, 20)]
    for lead in range(40, 70, 3):
        assert find(held_out, [np.concatenate([text(5, lead), text(1, 20)])]) == [True]


def test_a_sample_finds_them_too(monkeypatch):
    monkeypatch.setattr(near_duplicates, "MAX_SHINGLES", 200)
    held_out = [text(seed) for seed in range(20)]
    training = [np.concatenate([text(seed) for seed in range(0, 20, 2)])]
    assert find(held_out, training) == [seed % 2 == 0 for seed in range(20)]


def test_nothing_held_out_is_no_error():
    finder = DuplicateFinder(0)
    finder.add_training(text(1))
    assert finder.duplicates().tolist() == []


@pytest.mark.parametrize("length", [0, 7, 8, 30])
def test_one_hash_for_each_stretch_of_eight(length):
    hashes = shingle_hashes(text(1, length))
    assert len(hashes) == max(0, length - 7)
    assert len(np.unique(hashes)) == len(hashes)
