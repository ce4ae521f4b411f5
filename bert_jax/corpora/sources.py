"""From the configuration of a source to its documents."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from bert_jax.config_sections import DataConfig, SourceConfig
from bert_jax.corpora import books_corpus, installed_docs, text_files
from bert_jax.corpora.document_builder import prepare
from bert_jax.corpora.documents import DocumentSource, notes_of
from bert_jax.corpora.tfds_datasets import quiet, ready_builder

Progress = Callable[[str, int, int], None]


def open_source(
    source: SourceConfig,
    data: DataConfig,
    cache: Path,
    *,
    split: str | None = None,
    progress: Progress | None = None,
) -> DocumentSource:
    """The documents of a source, its ArrayRecord files written first if they are not there.

    Args:
        source: installed_docs, text_files, books_corpus, or any TFDS dataset that is
            prepared already; it is downloaded and built if data.download says so.
        data: eval_fraction, encoding_errors and download are read.
        cache: folder for the files of the first three; writing is atomic.
        split: another split than source.split.
        progress: called with (what is done, how many are done, of how many).

    Raises:
        ValueError: there is no such dataset, split, feature or file, or its text is not
            what the configuration says.
    """
    split = split or source.split
    if source.name == "installed_docs":
        return _open_own(*_installed_docs(source, data, cache, progress), source, split)
    if source.name == "text_files":
        return _open_own(*_text_files(source, data, cache, progress), source, split)
    if source.name == "books_corpus":
        return _open_own(*_books_corpus(source, data, cache, progress), source, split)
    builder = ready_builder(source.name, download=data.download)
    return DocumentSource(
        Path(builder.data_path),
        name=source.name,
        split=split,
        feature=source.feature,
        clean=kind_of_cleaning(source, {}),
    )


def kind_of_cleaning(source: SourceConfig, notes: Mapping[str, int]) -> str:
    """The kind of cleaning for all documents of a source (see corpora.cleaning).

    Where source.clean is auto: wikipedia for TFDS's Wikipedia, and for text_files if more
    than half of the files begin with a <doc …> tag of wikiextractor; gutenberg for
    books_corpus and pg19; none for installed_docs, which is cleaned where it is gathered;
    plain for all others.

    Args:
        source: name and clean are read.
        notes: what the builder counted in reading the source.
    """
    if source.clean != "auto":
        return source.clean
    base = source.name.partition("/")[0].partition(":")[0]
    if base == "text_files":
        files = sum(n for name, n in notes.items() if name.startswith("files_"))
        of_wikipedia = notes["files_of_wikiextractor"]
        return "wikipedia" if 2 * of_wikipedia > files else "plain"
    if base == "wikipedia":
        return "wikipedia"
    if base in ("books_corpus", "pg19"):
        return "gutenberg"
    return "none" if base == "installed_docs" else "plain"


def source_fingerprint(source: SourceConfig, data: DataConfig) -> str:
    """Digest of what a source holds at this moment; empty for a dataset of TFDS.

    For text_files and books_corpus every file is read; for installed_docs the installed
    versions count.
    """
    if source.name == "installed_docs":
        return installed_docs.fingerprint(data.eval_fraction)
    if source.name == "text_files":
        return text_files.fingerprint(
            source.path, source.feature, source.documents, data.encoding_errors
        )
    if source.name == "books_corpus":
        return books_corpus.fingerprint(source.path, data.encoding_errors)
    return ""


def open_validation(
    source: SourceConfig, data: DataConfig, cache: Path, *, progress: Progress | None = None
) -> DocumentSource | None:
    """The source's own validation split; None if it has none or trains on another."""
    files = ("text_files", "books_corpus")
    if source.name in files or source.split.split("[")[0] != "train":
        return None
    if source.name != "installed_docs":
        builder = ready_builder(source.name, download=data.download)
        if "validation" not in builder.info.splits:
            return None
    return open_source(source, data, cache, split="validation", progress=progress)


def _installed_docs(
    source: SourceConfig, data: DataConfig, cache: Path, progress: Progress | None
) -> tuple[Any, str]:
    digest = source_fingerprint(source, data)
    config = installed_docs.InstalledDocsConfig(
        name=digest[:16], eval_fraction=data.eval_fraction, progress=progress
    )
    return _builder(installed_docs.InstalledDocs, config, cache), digest


def _text_files(
    source: SourceConfig, data: DataConfig, cache: Path, progress: Progress | None
) -> tuple[Any, str]:
    digest = source_fingerprint(source, data)
    config = text_files.TextFilesConfig(
        name=digest[:16],
        path=source.path,
        feature=source.feature,
        documents=source.documents,
        encoding_errors=data.encoding_errors,
        progress=progress,
    )
    return _builder(text_files.TextFiles, config, cache), digest


def _books_corpus(
    source: SourceConfig, data: DataConfig, cache: Path, progress: Progress | None
) -> tuple[Any, str]:
    digest = source_fingerprint(source, data)
    config = books_corpus.BooksCorpusConfig(
        name=digest[:16],
        path=source.path,
        encoding_errors=data.encoding_errors,
        progress=progress,
    )
    return _builder(books_corpus.BooksCorpus, config, cache), digest


def _builder(cls: Any, config: Any, cache: Path) -> Any:
    with quiet():
        return cls(data_dir=str(cache), config=config, file_format="array_record")


def _open_own(
    builder: Any, digest: str, source: SourceConfig, split: str
) -> DocumentSource:
    """Prepares one of our builders and opens it; TFDS renames the folder at the end."""
    with quiet():
        prepare(builder)
    base = split.split("[")[0]
    stored = tfds.builder_from_directory(str(builder.data_path))
    metadata = stored.info.metadata
    return DocumentSource(
        Path(builder.data_path),
        name=source.name,
        split=split,
        feature="text",
        fingerprint=digest,
        notes=notes_of(metadata, base),
        clean=kind_of_cleaning(source, notes_of(metadata, "train")),
    )
