"""Documents of a split that are copies of another: equal ids, sentence by sentence.

Equal documents have equal lengths of sentences. So only documents whose lengths are those
of another are read and compared; the lengths stand in the index, which is small. Of a split
with more than two million documents those are taken whose lengths fall, by a hash, into a
share of all: copies fall together, so that their share is that of the split.

Shapes: S sentences, D documents.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np

from bert_jax.config_sections import DataConfig
from bert_jax.data.shards import ShardSet
from bert_jax.data.text_checks import document_blocks
from bert_jax.findings import Finding

MAX_DOCUMENTS = 1 << 21
# Of the training text. Wikipedia has 0.4 % of near-copies, crawled text 3 to 14 % (Lee et
# al. 2022, "Deduplicating Training Data Makes Language Models Better", table 2).
MAX_COPIES_SHARE = 0.01


class Copies(NamedTuple):
    """How many documents were looked at, and how many are copies of an earlier one."""

    looked_at: int
    copies: int
    is_whole: bool


def count_copies(shards: ShardSet, max_documents: int = MAX_DOCUMENTS) -> Copies:
    """Counts the copies in a split; memory for at most about `max_documents`."""
    num_documents = len(shards.document_offsets) - 1
    share = min(1.0, max_documents / num_documents)
    limit = np.uint64(min(2**64 - 1, int(share * 2**64)))
    hashes, places, start = [], [], 0
    for offsets, bounds in document_blocks(shards):
        block = _hash_of_lengths(np.diff(offsets), bounds)
        taken = np.flatnonzero(block <= limit)
        hashes.append(block[taken])
        places.append(taken + start)
        start += len(bounds) - 1
    hashes_D, places_D = np.concatenate(hashes), np.concatenate(places)
    _, group, sizes = np.unique(hashes_D, return_inverse=True, return_counts=True)
    alike = places_D[sizes[group] > 1]
    copies = len(alike) - len({_content_hash(shards, int(place)) for place in alike})
    return Copies(len(places_D), copies, share == 1.0)


def check_copies(copies: Copies, data: DataConfig) -> Finding:
    """Whether few documents are copies."""
    share = copies.copies / max(copies.looked_at, 1)
    taken = "all" if copies.is_whole else "a sample of"
    figure = (
        f"{copies.copies:,} of {taken} {copies.looked_at:,} training documents "
        f"({share:.2%}) have the ids of another"
    )
    if not copies.copies:
        return Finding("duplicates", True, figure)
    if not data.drop_duplicates:
        mend = "set data.drop_duplicates=true and prepare again"
        return Finding("duplicates", share <= MAX_COPIES_SHARE, figure, mend)
    if share <= MAX_COPIES_SHARE:
        return Finding("duplicates", True, f"{figure}, in other letters (case, accents)")
    mend = "set data.near_duplicates=drop and prepare again"
    return Finding("duplicates", False, figure, mend)


def _hash_of_lengths(lengths_S: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """uint64[D]: equal for documents with the same lengths of sentences, in order."""
    within = np.arange(len(lengths_S)) - np.repeat(bounds[:-1], np.diff(bounds))
    mixed = lengths_S.astype(np.uint64) + (within.astype(np.uint64) << np.uint64(32))
    return _mix(np.add.reduceat(_mix(mixed), bounds[:-1]))


def _mix(values: np.ndarray) -> np.ndarray:
    """The finalizer of SplitMix64: bits that depend on all bits, wrapping around."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _content_hash(shards: ShardSet, document: int) -> bytes:
    """16 bytes that stand for the ids of a document and where its sentences begin."""
    first, last = (int(edge) for edge in shards.document_offsets[document : document + 2])
    offsets = np.asarray(shards.sentence_offsets[first : last + 1])
    start, stop = int(offsets[0]), int(offsets[-1])
    digest = hashlib.blake2b(np.diff(offsets).tobytes(), digest_size=16)
    digest.update(shards.stretch(start, stop - start).tobytes())
    return digest.digest()
