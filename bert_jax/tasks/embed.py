"""Sentence vectors of an encoder.

Shapes: B batch, L length, D hidden.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bert_jax.pretrained.classes import BertModel
from bert_jax.pretrained.sources import tokenizer_folder
from bert_jax.tasks.batches import batches_of_texts
from bert_jax.tasks.sentence_recipe import Pooling, read_recipe
from bert_jax.text.bert_tokenizer import BertTokenizer


def embed(
    model_path: str | Path,
    texts: Sequence[str],
    *,
    pooling: Pooling | None = None,
    normalize: bool | None = None,
    max_length: int | None = None,
) -> np.ndarray:
    """A vector for each text; longer texts are cut at the longest the model can take.

    Args:
        model_path: whatever `BertModel.from_pretrained` takes.
        texts: any number of them.
        pooling: "mean" of the tokens' vectors or that of "cls"; None for what the folder
            says in the files of sentence-transformers, else "mean".
        normalize: whether vectors have length 1; None for what the folder says, else not.
        max_length: tokens to read of a text; None for what the folder says, else all that
            the model can take.

    Returns:
        float32[len(texts), D].
    """
    folder = tokenizer_folder(model_path)
    recipe = read_recipe(folder)
    pooling = recipe.pooling if pooling is None else pooling
    normalize = recipe.normalize if normalize is None else normalize
    max_length = recipe.max_length if max_length is None else max_length
    model = BertModel.from_pretrained(model_path, add_pooling_layer=False)
    tokenizer = BertTokenizer.from_pretrained(folder)
    limit = model.config.max_position_embeddings
    max_length = limit if max_length is None else min(limit, max_length)
    vectors = np.zeros((len(texts), model.config.hidden_size), np.float32)
    for rows, inputs in batches_of_texts(tokenizer, texts, max_length):
        hidden_BLD = np.asarray(model(**inputs).last_hidden_state, np.float32)
        vectors[rows] = _pool(hidden_BLD, inputs["attention_mask"], pooling)
    if normalize:
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors /= np.maximum(lengths, 1e-12)
    return vectors


def _pool(hidden_BLD: np.ndarray, mask_BL: np.ndarray, pooling: Pooling) -> np.ndarray:
    """float32[B, D]"""
    if pooling == "cls":
        return hidden_BLD[:, 0]
    weights_BL1 = mask_BL[..., None].astype(np.float32)
    summed_BD: np.ndarray = (hidden_BLD * weights_BL1).sum(axis=1)
    return summed_BD / weights_BL1.sum(axis=1)


def save_vectors(path: Path, vectors: np.ndarray) -> None:
    """Writes a .npy file; it appears whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as file:
        np.save(file, vectors)
    partial.replace(path)
