"""Near-duplicates across the split."""

from __future__ import annotations

import numpy as np
import pytest

from bert_jax.data import drafts, near_duplicates
from bert_jax.data.drafts import Texts
from bert_jax.data.hash_set import HashSet, shingle_hashes
from bert_jax.data.near_duplicates import mark_shared, sample_limit, save_held_out
from bert_jax.data.shards import offsets_of


def text(seed: int, length: int = 400) -> np.ndarray:
    return np.random.default_rng(seed).integers(5, 30_000, length).astype(np.uint16)


def texts_of(documents: list[np.ndarray]) -> Texts:
    """Each document is one sentence."""
    lengths = np.array([len(document) for document in documents], np.int64)
    tokens = np.concatenate([np.zeros(0, np.uint16), *documents])
    return Texts(tokens, offsets_of(lengths), np.arange(len(documents) + 1))


@pytest.fixture
def find(tmp_path):
    """Which of the held-out documents are near-duplicates of the training shards."""

    def find(held_out: list[np.ndarray], training: list[np.ndarray]) -> list[bool]:
        texts = texts_of(held_out)
        limit = sample_limit(len(texts.tokens))
        save_held_out(tmp_path / "shingles.npy", [texts], limit)
        shingles = HashSet(tmp_path / "shingles.npy")
        found = np.zeros(len(shingles.members), bool)
        for shard in training:
            mark_shared(shingles, shard, found)
        return near_duplicates.near_duplicates(shingles, found, texts, limit).tolist()

    return find


def with_changes(document: np.ndarray, every: int) -> np.ndarray:
    changed = document.copy()
    changed[::every] += 1
    return changed


def test_copies_are_found_and_unrelated_texts_are_kept(find):
    held_out = [text(1), text(2), text(3), text(4, 5)]
    training = [
        np.concatenate([text(10), text(1), text(11)]),
        np.concatenate([with_changes(text(2), 40), text(12), text(4, 5)]),
    ]
    assert find(held_out, training) == [True, True, False, False]


def test_a_shared_passage_makes_no_duplicate(find):
    shared = np.concatenate([text(20, 300), text(1)[:100], text(21, 300)])
    assert find([text(1)], [shared]) == [False]
    assert find([text(1)[:120]], [shared]) == [True]


def test_a_copy_across_chunks_is_found(find, monkeypatch):
    monkeypatch.setattr(near_duplicates, "_CHUNK_TOKENS", 64)
    held_out = [text(1, 20)]
    for lead in range(40, 70, 3):
        assert find(held_out, [np.concatenate([text(5, lead), text(1, 20)])]) == [True]


def test_a_sample_finds_them_too(find, monkeypatch):
    monkeypatch.setattr(near_duplicates, "MAX_SHINGLES", 200)
    held_out = [text(seed) for seed in range(20)]
    training = [np.concatenate([text(seed) for seed in range(0, 20, 2)])]
    assert find(held_out, training) == [seed % 2 == 0 for seed in range(20)]


def test_documents_in_pieces_are_judged_the_same(find, monkeypatch):
    held_out = [text(seed, 3 + 7 * seed) for seed in range(30)]
    training = [np.concatenate([with_changes(held_out[9], 40), *held_out[10:20]])]
    whole = find(held_out, training)
    assert whole == [9 <= seed < 20 for seed in range(30)]
    monkeypatch.setattr(drafts, "PIECE_TOKENS", 50)
    assert find(held_out, training) == whole


def test_nothing_held_out_is_no_error(find):
    assert find([], [text(1)]) == []


@pytest.mark.parametrize("length", [0, 7, 8, 30])
def test_one_hash_for_each_stretch_of_eight(length):
    hashes = shingle_hashes(text(1, length), 8)
    assert len(hashes) == max(0, length - 7)
    assert len(np.unique(hashes)) == len(hashes)
