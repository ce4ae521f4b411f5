"""Ranges of documents turned into drafts: read, cleaned, cut into sentences, encoded.

A range is a fixed stretch of one source, so that its draft is the same whoever makes it.
What tells duplicates is taken from the text in the same pass: the corpus is read once.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bert_jax.corpora.cleaning import Cleaner
from bert_jax.corpora.documents import Document, DocumentSource
from bert_jax.data.contamination import contaminated
from bert_jax.data.drafts import Draft, Texts, draft_prefix, save_draft
from bert_jax.data.duplicates import first_of_each, place_of, spill_path, text_hash
from bert_jax.data.files import save_array, save_json
from bert_jax.data.hash_set import HashSet
from bert_jax.data.holdout import Holdout, documents_per_read
from bert_jax.data.minhash import band_hashes
from bert_jax.data.shards import ShardBuilder, offsets_of
from bert_jax.text.sentences import split_sentences
from bert_jax.text.tokenizer import Tokenizer, load_tokenizer

# Text that makes one range: enough to be worth a file, little enough to be redone.
MAX_RANGE_BYTES = 16_000_000
MIN_RANGE_BYTES = 500_000
NGRAMS_FILE = "work/ngrams.npy"


@dataclasses.dataclass(frozen=True)
class Range:
    """Documents [start, stop) of one source.

    Attributes:
        index: which range it is.
        source: which source.
        start, stop: documents of that source.
        number: of the first one among the documents of all sources.
    """

    index: int
    source: int
    start: int
    stop: int
    number: int


@dataclasses.dataclass(frozen=True)
class Job:
    """What a worker needs; can be sent to another process.

    Attributes:
        directory: the directory that is being prepared, with its tokenizer in place.
        sources: what the ranges refer to.
        holdouts: for each source, which documents are held out.
        cleaners: for each source, what is done to its documents first.
        language: of the text, for the sentence splitter.
        kinds: of duplicates to look for: "exact", "near".
        decontaminate: whether to leave out what shares an n-gram of NGRAMS_FILE.
    """

    directory: Path
    sources: tuple[DocumentSource, ...]
    holdouts: tuple[Holdout, ...]
    cleaners: tuple[Cleaner, ...]
    language: str
    kinds: tuple[str, ...]
    decontaminate: bool


def plan_ranges(sources: Sequence[DocumentSource]) -> list[Range]:
    """Cuts all sources into ranges of about equal size, at least 16 if there is much."""
    total = sum(source.num_bytes for source in sources)
    size = min(MAX_RANGE_BYTES, max(MIN_RANGE_BYTES, total // 16))
    ranges: list[Range] = []
    base = 0
    for number, source in enumerate(sources):
        pieces = max(1, min(len(source), round(source.num_bytes / size)))
        edges = [i * len(source) // pieces for i in range(pieces + 1)]
        for start, stop in itertools.pairwise(edges):
            ranges.append(Range(len(ranges), number, start, stop, base + start))
        base += len(source)
    return ranges


def report_path(directory: Path, index: int) -> Path:
    """Where the counts of a finished range are."""
    return directory / "work" / f"range-{index:05d}.json"


def read_report(directory: Path, index: int) -> dict[str, Any]:
    """The counts of a finished range."""
    values: dict[str, Any] = json.loads(report_path(directory, index).read_text())
    return values


class RangeStage:
    """Turns ranges into drafts, and spills what tells duplicates.

    Args:
        job: what to do.
    """

    def __init__(self, job: Job):
        self._job = job

    def __reduce__(self) -> tuple[Any, ...]:
        return RangeStage, (self._job,)

    def marker(self, item: Range) -> Path:
        """The report of a range."""
        return report_path(self._job.directory, item.index)

    def __call__(self, item: Range) -> None:
        """Writes draft, spilled hashes and report of one range."""
        holdout = self._job.holdouts[item.source]
        builder = ShardBuilder(self._tokenizer.word_starts_V)
        dropped: Counter[str] = Counter()
        places: list[int] = []
        hashes: list[int] = []
        for numbers, documents in self._read(item, dropped):
            encoded = encode_documents(documents, self._tokenizer, self._job.language)
            is_foul = self._contaminated(encoded)
            rows = zip(numbers, documents, encoded, is_foul, strict=True)
            for number, document, (ids, lengths), is_contaminated in rows:
                filled = lengths[lengths > 0]
                dropped["empty_sentences"] += len(lengths) - len(filled)
                if not len(filled) or is_contaminated:
                    reason = "contaminated" if is_contaminated else "empty"
                    dropped[f"{reason}_documents"] += 1
                    continue
                builder.add(ids, filled)
                places.append(place_of(number, holdout.takes(document)))
                if "exact" in self._job.kinds:
                    hashes.append(text_hash(document.text))
        draft = Draft(Texts(*builder.arrays()), np.array(places, np.uint64))
        self._write(item, draft, np.array(hashes, np.uint64), dropped)

    @functools.cached_property
    def _tokenizer(self) -> Tokenizer:
        return load_tokenizer(self._job.directory / "tokenizer")

    @functools.cached_property
    def _ngrams(self) -> HashSet:
        return HashSet(self._job.directory / NGRAMS_FILE)

    def _read(
        self, item: Range, dropped: Counter[str]
    ) -> Iterator[tuple[list[int], list[Document]]]:
        """Numbers and documents of a range, cleaned, about a megabyte at a time."""
        source, clean = self._job.sources[item.source], self._job.cleaners[item.source]
        size = documents_per_read(source)
        for first in range(item.start, item.stop, size):
            numbers, documents = [], []
            raw = source.read(first, min(first + size, item.stop))
            for number, document in enumerate(raw, item.number + first - item.start):
                cleaned, counts = clean(document)
                dropped.update(counts)
                if cleaned is not None:
                    numbers.append(number)
                    documents.append(cleaned)
            yield numbers, documents

    def _contaminated(self, encoded: list[tuple[np.ndarray, np.ndarray]]) -> list[bool]:
        """For each document whether it shares an n-gram with the evaluation files."""
        if not self._job.decontaminate or not encoded:
            return [False] * len(encoded)
        bounds = offsets_of(np.array([len(ids) for ids, _ in encoded]))
        ids = np.concatenate([ids for ids, _ in encoded])
        return contaminated(self._ngrams, ids, bounds).tolist()

    def _write(
        self, item: Range, draft: Draft, hashes: np.ndarray, dropped: Counter[str]
    ) -> None:
        """Leaves out the duplicates within the range, spills the rest; report last."""
        directory = self._job.directory
        if "exact" in self._job.kinds:
            rows, others = first_of_each(hashes, draft.places)
            save_array(spill_path(directory, "exact", item.index), rows)
            dropped["exact_duplicates"] += len(others)
            draft = draft.take(~np.isin(draft.places, others))
        if "near" in self._job.kinds:
            bands, documents = band_hashes(draft.texts)
            is_training = ~draft.held_out[documents]
            rows, others = first_of_each(
                bands[is_training], draft.places[documents[is_training]]
            )
            save_array(spill_path(directory, "near", item.index), rows)
            is_other = np.isin(draft.places, others)
            dropped["near_duplicates"] += int(is_other.sum())
            draft = draft.take(~is_other)
        save_draft(draft_prefix(directory, item.index), draft)
        held_out = np.diff(draft.texts.bounds)[draft.held_out]
        counts = {"dropped": dropped, "held_out_tokens": int(held_out.sum())}
        save_json(report_path(directory, item.index), counts)


def encode_documents(
    documents: Sequence[Document], tokenizer: Tokenizer, language: str
) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each document its ids end to end, and the number of ids of each sentence."""
    sentences = [split_sentences(document.text, language) for document in documents]
    ids, offsets = tokenizer.encode_batch([text for texts in sentences for text in texts])
    lengths = np.diff(offsets)
    encoded = []
    sentence = 0
    for texts in sentences:
        end = sentence + len(texts)
        encoded.append((ids[offsets[sentence] : offsets[end]], lengths[sentence:end]))
        sentence = end
    return encoded
