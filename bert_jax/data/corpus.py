"""The corpus of a configuration: sources, what is held out, how they are cleaned."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

from bert_jax.config import Config
from bert_jax.corpora.cleaning import Cleaner, make_cleaner
from bert_jax.corpora.documents import DocumentSource
from bert_jax.corpora.sources import open_source, open_validation
from bert_jax.data.cache import cache_root
from bert_jax.data.holdout import (
    EVERYTHING,
    NOTHING,
    Holdout,
    choose_holdout,
    documents_per_read,
)
from bert_jax.text.vocabulary import SAMPLE_BYTES

# Called with what is being done, how far it is, and of how much.
Report = Callable[[str, int, int], None]


@dataclasses.dataclass(frozen=True)
class Corpus:
    """The sources of a configuration, training before validation.

    Attributes:
        sources: their documents.
        holdouts: for each source, which documents are held out.
        cleaners: for each source, what is done to its documents first.
    """

    sources: tuple[DocumentSource, ...]
    holdouts: tuple[Holdout, ...]
    cleaners: tuple[Cleaner, ...]


def open_corpus(config: Config, report: Report) -> Corpus:
    """Opens all sources, what they hold written as ArrayRecord files first if need be.

    Raises:
        ValueError: a source cannot be opened or is empty.
    """
    cache = cache_root() / "corpora"
    sources: list[DocumentSource] = []
    holdouts: list[Holdout] = []
    validations: list[DocumentSource] = []
    for number, source_config in enumerate(config.data.sources):
        source = open_source(source_config, config.data, cache, progress=report)
        validation = open_validation(source_config, config.data, cache, progress=report)
        if not len(source):
            raise ValueError(
                f"data.sources[{number}] ({source.name}) must hold documents and is empty"
            )
        report(f"documents of {source.name}", len(source), len(source))
        sources.append(source)
        if validation is None:
            holdouts.append(choose_holdout(source, config.data.eval_fraction))
        else:
            holdouts.append(NOTHING)
            validations.append(validation)
    sources += validations
    holdouts += [EVERYTHING] * len(validations)
    cleaners = tuple(make_cleaner(source.clean) for source in sources)
    return Corpus(tuple(sources), tuple(holdouts), cleaners)


def training_texts(corpus: Corpus) -> Iterator[str]:
    """Texts that are not held out: all, or evenly spread megabytes of a large corpus."""
    total = sum(source.num_bytes for source in corpus.sources)
    stride = max(1, total // SAMPLE_BYTES)
    parts = zip(corpus.sources, corpus.holdouts, corpus.cleaners, strict=True)
    for source, holdout, clean in parts:
        if holdout is EVERYTHING:
            continue
        size = documents_per_read(source)
        for first in range(0, len(source), size * stride):
            for document in source.read(first, min(first + size, len(source))):
                if not holdout.takes(document):
                    cleaned, _ = clean(document)
                    if cleaned is not None:
                        yield cleaned.text
