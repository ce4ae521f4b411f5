"""Drafts: the documents of one range as token ids, before duplicates are left out.

    work/range-00000.tokens.npy             ids, end to end, word-start bits included
    work/range-00000.sentence_offsets.npy   int64[S+1]
    work/range-00000.document_offsets.npy   int64[D+1]
    work/range-00000.places.npy             uint64[D], see bert_jax.data.duplicates

Training and held-out documents stand together, in the order of the source.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bert_jax.data.duplicates import HELD_OUT_BIT
from bert_jax.data.files import open_array, save_array
from bert_jax.data.shards import array_path, offsets_of, read_shard, write_shard

PIECE_TOKENS = 1 << 20


class Texts(NamedTuple):
    """Documents as token ids.

    Attributes:
        tokens: [T] as stored.
        sentence_offsets: int64[S+1], into the tokens.
        document_offsets: int64[D+1], into the sentences.
    """

    tokens: np.ndarray
    sentence_offsets: np.ndarray
    document_offsets: np.ndarray

    @property
    def bounds(self) -> np.ndarray:
        """int64[D+1], where each document begins in the tokens, and the end."""
        return np.asarray(self.sentence_offsets)[np.asarray(self.document_offsets)]

    def pieces(self) -> Iterator[tuple[int, Texts]]:
        """All documents in pieces of about a million tokens, each with its first one."""
        bounds = self.bounds
        cuts = np.searchsorted(bounds, np.arange(0, len(self.tokens), PIECE_TOKENS))
        edges = np.unique(np.append(cuts, len(bounds) - 1)).tolist()
        for first, last in itertools.pairwise(edges):
            sentences = self.document_offsets[first : last + 1]
            tokens = self.sentence_offsets[sentences[0] : sentences[-1] + 1]
            yield (
                first,
                Texts(
                    self.tokens[tokens[0] : tokens[-1]],
                    tokens - tokens[0],
                    sentences - sentences[0],
                ),
            )

    def take(self, chosen: np.ndarray) -> Texts:
        """The documents where bool[D] `chosen` is set, in order."""
        if chosen.all():
            return self
        sentences = np.repeat(chosen, np.diff(self.document_offsets))
        tokens = np.repeat(chosen, np.diff(self.bounds))
        return Texts(
            self.tokens[tokens],
            offsets_of(np.diff(self.sentence_offsets)[sentences]),
            offsets_of(np.diff(self.document_offsets)[chosen]),
        )


class Draft(NamedTuple):
    """The documents of one range and their places."""

    texts: Texts
    places: np.ndarray

    @property
    def held_out(self) -> np.ndarray:
        """bool[D]: which documents are held out."""
        return np.asarray(self.places) >= np.uint64(HELD_OUT_BIT)

    def take(self, chosen: np.ndarray) -> Draft:
        """The documents where bool[D] `chosen` is set, in order."""
        return Draft(self.texts.take(chosen), self.places[chosen])


def draft_prefix(directory: Path, index: int) -> Path:
    """What the files of the draft of one range begin with."""
    return directory / "work" / f"range-{index:05d}"


def save_draft(prefix: Path, draft: Draft) -> None:
    """Writes the four files of a draft, each atomically."""
    write_shard(prefix, prefix, draft.texts)
    save_array(array_path(prefix, "places"), draft.places)


def open_draft(prefix: Path) -> Draft:
    """A draft, memory-mapped."""
    places = np.asarray(open_array(array_path(prefix, "places")))
    return Draft(Texts(*map(np.asarray, read_shard(prefix))), places)
