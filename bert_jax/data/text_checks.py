"""Checks of the text in token shards: ids, unknown words, lengths.

All tokens are read, a few megabytes at a time; figures are of whole splits.

Shapes: T tokens of a split, S sentences, D documents, V vocabulary.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from bert_jax.data.histograms import LengthHistogram
from bert_jax.data.manifest import Manifest
from bert_jax.data.shards import ShardSet
from bert_jax.findings import Finding

# Share of [UNK] among the tokens that is still in order. BERT's vocabulary leaves 0.009 %
# on English Wikipedia and 0.001 % on novels, a trained one less: its alphabet is that of
# the text. With one in a hundred, every row of 128 has one: a whole script is missing.
MAX_UNKNOWN_SHARE = 0.01
# English has 1.1 to 1.3 tokens a word with a vocabulary of its own (marks are words here),
# languages of long words up to 2 (Rust et al. 2021, "How Good is Your Tokenizer?"). Beyond,
# the vocabulary is of another language or far too small, and rows hold little text.
MAX_TOKENS_PER_WORD = 2.0

_CHUNK_TOKENS = 1 << 21
_CHUNK_SENTENCES = 1 << 20


class SpecialIds(Protocol):
    """What the checks need to know of a tokenizer."""

    @property
    def vocab_size(self) -> int: ...
    @property
    def unk_id(self) -> int: ...
    @property
    def special_ids(self) -> tuple[int, ...]: ...


class Part(NamedTuple):
    """Documents [first, last) of a split, and how they are called."""

    name: str
    first: int
    last: int


@dataclasses.dataclass
class TokenCounts:
    """What the tokens of a part are.

    Attributes:
        tokens: all of them.
        unknown: those that are [UNK].
        words: those that a word starts with.
        controls: those that are another control token.
        largest: the largest id.
    """

    tokens: int = 0
    unknown: int = 0
    words: int = 0
    controls: int = 0
    largest: int = -1

    def add(self, ids: np.ndarray, starts: np.ndarray, tokenizer: SpecialIds) -> None:
        """Counts int[N] ids and bool[N] word starts."""
        self.tokens += len(ids)
        self.unknown += int(np.count_nonzero(ids == tokenizer.unk_id))
        self.words += int(np.count_nonzero(starts))
        for control in set(tokenizer.special_ids) - {tokenizer.unk_id}:
            self.controls += int(np.count_nonzero(ids == control))
        self.largest = max(self.largest, int(ids.max()))


class Lengths(NamedTuple):
    """Distributions of lengths, in tokens, and how many documents have one sentence."""

    sentences: LengthHistogram
    documents: LengthHistogram
    one_sentence: int


def parts_of(manifest: Manifest) -> list[Part]:
    """The training documents by source; all as one where the manifest names no source."""
    named = [
        Part(f"data.sources[{number}] {source['name']}", *source["train_documents"])
        for number, source in enumerate(manifest.sources)
    ]
    parts = [part for part in named if part.first < part.last]
    return parts or [Part("all text", 0, manifest.splits["train"]["documents"])]


def count_tokens(shards: ShardSet, part: Part, tokenizer: SpecialIds) -> TokenCounts:
    """Reads all tokens of a part."""
    counts = TokenCounts()
    first, last = (int(shards.document_offsets[edge]) for edge in part[1:])
    start, stop = (int(shards.sentence_offsets[edge]) for edge in (first, last))
    for stored in shards.stretches(start, stop, _CHUNK_TOKENS):
        counts.add(shards.ids(stored), shards.word_starts(stored), tokenizer)
    return counts


def check_ids(
    counts: Sequence[TokenCounts], tokenizer: SpecialIds, remedy: str
) -> list[Finding]:
    """Whether ids are in the vocabulary, and control tokens what they should be.

    Args:
        counts: of all parts of all splits.
        tokenizer: the one of the prepared directory.
        remedy: what makes the shards anew.
    """
    size, special = tokenizer.vocab_size, tokenizer.special_ids
    largest = max(part.largest for part in counts)
    tokens = sum(part.tokens for part in counts)
    ids = Finding(
        "ids",
        largest < size,
        f"largest id {largest:,} of {size:,} entries, in all {tokens:,} tokens",
        "" if largest < size else remedy,
    )
    names = dict(zip(("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"), special, strict=True))
    told = " ".join(f"{name} {number}" for name, number in names.items())
    if len(set(special)) < len(special) or not all(0 <= n < size for n in special):
        return [
            ids,
            Finding(
                "special ids",
                False,
                f"{told}: must be five different ids below {size:,}",
                "set tokenizer.path to a vocabulary with five control tokens",
            ),
        ]
    controls = sum(part.controls for part in counts)
    inside = f"{controls:,} in the text" if controls else "none in the text"
    return [
        ids,
        Finding(
            "special ids", not controls, f"{told}; {inside}", remedy if controls else ""
        ),
    ]


def check_words(part: Part, counts: TokenCounts) -> list[Finding]:
    """[UNK] rate and tokens per word of one source."""
    unknown = counts.unknown / counts.tokens
    is_known = unknown <= MAX_UNKNOWN_SHARE
    fertility = counts.tokens / max(counts.words, 1)
    is_whole = fertility <= MAX_TOKENS_PER_WORD
    return [
        Finding(
            "unknown words",
            is_known,
            f"{part.name}: {unknown:.3%} of all {counts.tokens:,} tokens are [UNK]; "
            f"at most {MAX_UNKNOWN_SHARE:.0%} is in order",
            ""
            if is_known
            else "the vocabulary lacks signs of this text: leave tokenizer.path empty to "
            "train one on it, or set tokenizer.path to one of its language",
        ),
        Finding(
            "tokens per word",
            True,
            f"{part.name}: {fertility:.2f}",
            ""
            if is_whole
            else f"above {MAX_TOKENS_PER_WORD:g}: raise tokenizer.vocab_size, or set "
            "tokenizer.path to a vocabulary of this language",
        ),
    ]


def measure_lengths(shards: ShardSet) -> Lengths:
    """The lengths of all sentences and documents of a split."""
    sentences, documents, one_sentence = LengthHistogram(), LengthHistogram(), 0
    for offsets, bounds in document_blocks(shards):
        sentences.add(np.diff(offsets))
        documents.add(np.diff(offsets[bounds]))
        one_sentence += int(np.count_nonzero(np.diff(bounds) == 1))
    return Lengths(sentences, documents, one_sentence)


def document_blocks(shards: ShardSet) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The index of a split, about a million sentences at a time.

    Yields:
        int64[S+1] token offsets of the sentences of some documents, and int64[D+1] bounds
        of these documents in them.
    """
    document_offsets = shards.document_offsets
    num_documents = len(document_offsets) - 1
    start = 0
    while start < num_documents:
        first = int(document_offsets[start])
        stop = int(
            np.searchsorted(document_offsets, first + _CHUNK_SENTENCES, side="right") - 1
        )
        stop = min(max(stop, start + 1), num_documents)
        last = int(document_offsets[stop])
        bounds = np.asarray(document_offsets[start : stop + 1]) - first
        yield np.asarray(shards.sentence_offsets[first : last + 1]), bounds
        start = stop


def tell_lengths(lengths: Lengths) -> list[Finding]:
    """Figures of sentences and documents; neither can be wrong."""
    found = []
    for name, histogram in (
        ("sentences", lengths.sentences),
        ("documents", lengths.documents),
    ):
        low, middle, high = (histogram.quantile(share) for share in (0.05, 0.5, 0.95))
        figure = (
            f"{histogram.total:,}; tokens: median {middle:,}, 90 % in {low:,} … {high:,}, "
            f"mean {histogram.mean:,.0f}, longest {histogram.longest:,}"
        )
        found.append(Finding(name, True, figure))
    return found
