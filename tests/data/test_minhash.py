"""Bands of MinHash signatures meet as often as the overlap of two documents says."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from data.test_near_duplicates import text, texts_of

from bert_jax.config import Config
from bert_jax.data import drafts
from bert_jax.data.hash_set import shingle_hashes
from bert_jax.data.minhash import BANDS, ROWS, band_hashes
from bert_jax.data.prepare import prepare


def share_in_common(pairs: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """How many of the pairs have a band in common."""
    hashes, documents = band_hashes(texts_of([item for pair in pairs for item in pair]))
    bands = [set(hashes[documents == number].tolist()) for number in range(2 * len(pairs))]
    return float(
        np.mean([bool(a & b) for a, b in zip(bands[::2], bands[1::2], strict=True)])
    )


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    first, second = (set(shingle_hashes(tokens, 8).tolist()) for tokens in (a, b))
    return len(first & second) / len(first | second)


@pytest.mark.parametrize("common", [1000, 950, 900, 850, 700, 0])
def test_bands_meet_as_often_as_they_should(common):
    pytest.importorskip("rensa", reason="needs the extra dedup")
    pairs = []
    for seed in range(200):
        shared = text(3 * seed, common)
        tails = (text(3 * seed + side, 1000 - common) for side in (1, 2))
        pairs.append(tuple(np.concatenate([shared, tail]) for tail in tails))
    expected = float(np.mean([1 - (1 - overlap(*p) ** ROWS) ** BANDS for p in pairs]))
    spread = (expected * (1 - expected) / len(pairs)) ** 0.5
    assert abs(share_in_common(pairs) - expected) <= 4 * spread + 1e-3


def test_pieces_and_short_documents(monkeypatch):
    pytest.importorskip("rensa", reason="needs the extra dedup")
    texts = texts_of([text(seed, 3 * seed) for seed in range(30)])
    hashes, documents = band_hashes(texts)
    assert set(documents.tolist()) == set(range(3, 30))
    assert len(np.unique(hashes)) == len(hashes) == 27 * BANDS
    monkeypatch.setattr(drafts, "PIECE_TOKENS", 40)
    assert np.array_equal(band_hashes(texts)[0], hashes)
    assert np.array_equal(band_hashes(texts)[1], documents)
    assert band_hashes(texts_of([text(1, 5)]))[0].shape == (0,)


def test_without_the_library_one_line_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "rensa", None)
    config = Config.from_dict({"data": {"near_duplicates": "drop"}})
    with pytest.raises(
        ValueError, match=r"^data\.near_duplicates=drop .*bert_jax\[dedup\]"
    ):
        prepare(config, tmp_path / "data", report=lambda *_: None)
