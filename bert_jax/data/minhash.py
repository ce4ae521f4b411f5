"""Bands of MinHash signatures: nearly equal documents have one in common.

A document is the set of its shingles, stretches of eight tokens. Its signature has 112
values in 14 bands of 8. Two documents whose shingles overlap by s (Jaccard) have a band in
common with probability 1 - (1 - s^8)^14: 0.92 at s = 0.8, 0.77 at 0.75, 0.05 at 0.5.

Source: Penedo et al. 2024 (FineWeb), who use these bands on word 5-grams.
Differs: they join what hangs together into clusters and keep one document of each. Here a
document is left out if a band of it stands in an earlier one, which keeps documents that
are linked only through a third.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bert_jax.data.drafts import Texts
from bert_jax.data.hash_set import mix, shingle_hashes
from bert_jax.data.near_duplicates import SHINGLE_TOKENS
from bert_jax.data.shards import offsets_of

BANDS = 14
ROWS = 8
_SEED = 1
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def check_minhash() -> None:
    """Refuses near_duplicates=drop where the library is not installed.

    Raises:
        ValueError: it is not.
    """
    _library()


def band_hashes(texts: Texts) -> tuple[np.ndarray, np.ndarray]:
    """The bands of documents.

    Returns:
        uint64[K * BANDS] hashes and int64[K * BANDS] documents; those of fewer than eight
        tokens have none.
    """
    hashes, documents = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
    for first, piece in texts.pieces():
        found = _band_hashes(piece.tokens, piece.bounds)
        hashes.append(found[0])
        documents.append(found[1] + first)
    return np.concatenate(hashes), np.concatenate(documents)


def _band_hashes(tokens: np.ndarray, bounds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same of documents that are few enough for working memory."""
    lengths = np.maximum(np.diff(bounds) - SHINGLE_TOKENS + 1, 0)
    documents = np.flatnonzero(lengths)
    if not len(documents):
        return np.zeros(0, np.uint64), documents
    hashes = shingle_hashes(tokens, SHINGLE_TOKENS)
    # Without the shingles that reach into the next document.
    owner = np.repeat(np.arange(len(lengths)), np.diff(bounds))[: len(hashes)]
    hashes = hashes[np.arange(len(hashes)) + SHINGLE_TOKENS <= bounds[1:][owner]]
    matrix = _library().digest_matrix_from_flat_token_hashes(
        hashes, offsets_of(lengths[documents]).astype(np.uint64), BANDS * ROWS, _SEED
    )
    signatures = np.array(matrix.to_rows(), np.uint64).reshape(-1, BANDS, ROWS)
    bands = np.broadcast_to(np.arange(BANDS, dtype=np.uint64), signatures.shape[:2]).copy()
    for row in range(ROWS):
        bands *= _MULTIPLIER
        bands += signatures[:, :, row]
        mix(bands)
    return bands.reshape(-1), np.repeat(documents, BANDS)


def _library() -> Any:
    try:
        import rensa
    except ImportError:
        raise ValueError(
            "data.near_duplicates=drop must be keep where rensa is not installed; "
            "pip install 'bert_jax[dedup]'"
        ) from None
    return rensa.RMinHash
