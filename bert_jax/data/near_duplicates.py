"""Held-out documents that also stand, nearly so, in the training text.

A document is seen as the set of its shingles, all stretches of eight tokens. Where more
than half of the shingles of a held-out document stand somewhere in the training text, it
is a near-duplicate; unrelated texts share a few in a hundred. Only the shingles of the
held-out side are kept, a sample of them when it is large: at most 4 million, or one for
each held-out document. A long document that has one copied passage among much of its own
is not found.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from bert_jax.data.drafts import Texts
from bert_jax.data.hash_set import HashSet, save_hash_set, shingle_hashes

SHINGLE_TOKENS = 8
MAX_SHARE = 0.5
MAX_SHINGLES = 1 << 22
_CHUNK_TOKENS = 1 << 20


def document_shingles(
    tokens: np.ndarray, bounds: np.ndarray, sample_limit: int
) -> tuple[np.ndarray, np.ndarray]:
    """The sampled shingles of each document, each once, and of each at least one.

    Args:
        tokens: [T], documents end to end.
        bounds: int64[D+1], where each begins, and the end.
        sample_limit: hashes up to this one are in the sample; 2**64 - 1 takes all.

    Returns:
        uint64[N] hashes and int64[N] documents, by document, then by hash. A document of
        fewer than eight tokens has none.
    """
    hashes = shingle_hashes(tokens, SHINGLE_TOKENS)
    lengths = np.diff(bounds)
    documents = np.repeat(np.arange(len(lengths)), lengths)[: len(hashes)]
    within = np.arange(len(hashes)) + SHINGLE_TOKENS <= bounds[1:][documents]
    hashes, documents = hashes[within], documents[within]
    if not len(hashes):
        return hashes, documents
    first = np.flatnonzero(np.diff(documents, prepend=-1))
    least = np.repeat(
        np.minimum.reduceat(hashes, first), np.diff(first, append=len(hashes))
    )
    taken = (hashes <= np.uint64(sample_limit)) | (hashes == least)
    hashes, documents = hashes[taken], documents[taken]
    order = np.lexsort((hashes, documents))
    hashes, documents = hashes[order], documents[order]
    fresh = np.ones(len(hashes), bool)
    fresh[1:] = (hashes[1:] != hashes[:-1]) | (documents[1:] != documents[:-1])
    return hashes[fresh], documents[fresh]


def sample_limit(num_held_out_tokens: int) -> int:
    """The `sample_limit` that keeps the shingles of so many tokens to MAX_SHINGLES."""
    rate = min(1.0, MAX_SHINGLES / max(num_held_out_tokens, 1))
    return min(int(rate * 2**64), 2**64 - 1)


def save_held_out(path: Path, texts: Iterable[Texts], limit: int) -> None:
    """Writes the sampled shingles of all held-out documents.

    Args:
        path: of a `HashSet`.
        texts: held-out documents, part by part.
        limit: the `sample_limit`.
    """
    hashes = [np.zeros(0, np.uint64)]
    for part in texts:
        for _, piece in part.pieces():
            found, _ = document_shingles(piece.tokens, piece.bounds, limit)
            hashes.append(np.unique(found))
    save_hash_set(path, np.concatenate(hashes))


def mark_shared(held_out: HashSet, tokens: np.ndarray, found: np.ndarray) -> None:
    """Marks the held-out shingles that stand in training text.

    Args:
        held_out: what `save_held_out` wrote.
        tokens: [T], training documents end to end.
        found: bool[N], by member of `held_out`; set where found, else left as it is.
    """
    for start in range(0, len(tokens), _CHUNK_TOKENS):
        stop = start + _CHUNK_TOKENS + SHINGLE_TOKENS - 1
        _, members = held_out.find(shingle_hashes(tokens[start:stop], SHINGLE_TOKENS))
        found[members] = True


def near_duplicates(
    held_out: HashSet, found: np.ndarray, texts: Texts, limit: int
) -> np.ndarray:
    """bool[D]: which held-out documents are near-duplicates of training text.

    Args:
        held_out: what `save_held_out` wrote.
        found: bool[N], which of its members stand in training text.
        texts: D held-out documents.
        limit: the `sample_limit` of `held_out`.
    """
    result = np.zeros(len(texts.document_offsets) - 1, bool)
    for first, piece in texts.pieces():
        hashes, documents = document_shingles(piece.tokens, piece.bounds, limit)
        places, members = held_out.find(hashes)
        assert len(places) == len(hashes)
        count = len(piece.document_offsets) - 1
        shingles = np.bincount(documents, minlength=count)
        shared = np.bincount(documents, weights=found[members], minlength=count)
        result[first : first + count] = shared > MAX_SHARE * shingles
    return result
