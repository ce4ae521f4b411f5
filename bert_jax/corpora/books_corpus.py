"""Books that you have: a TFDS builder over a folder or an archive of .txt files.

The BooksCorpus of the 2018 paper is no longer distributed. Who has a copy, or other books,
names it here, packed or not; who has none takes `pg19`, books of Project Gutenberg before
1919, from TFDS: `--config.data.sources=pg19`.

Source: Zhu et al. 2015, Aligning Books and Movies; Devlin et al. 2019, section 3.1.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO

import tensorflow_datasets as tfds

from bert_jax.corpora.archives import Member, is_archive, read_members
from bert_jax.corpora.document_builder import DocumentBuilder
from bert_jax.corpora.documents import Document
from bert_jax.corpora.text_files import fingerprint_files
from bert_jax.corpora.text_lines import COMPRESSED, Counts
from bert_jax.corpora.text_paths import find_books
from bert_jax.corpora.text_readers import read_stream

VERSION = "1.0.0"
Progress = Callable[[str, int, int], None]
_MEGABYTE = 1_000_000


@dataclasses.dataclass(kw_only=True)
class BooksCorpusConfig(tfds.core.BuilderConfig):
    """Where the books are, and how to read them; `name` is the fingerprint."""

    path: str
    encoding_errors: str
    progress: Progress | None = None


class BooksCorpus(DocumentBuilder):
    """One document for each book, or several of one title if it is very long; one split."""

    VERSION = tfds.core.Version(VERSION)

    def split_documents(self) -> Mapping[str, Iterator[Document]]:
        """The one split, train."""
        return {"train": self._read_books()}

    def _read_books(self) -> Iterator[Document]:
        """One book after the other; counts are stored when all are read."""
        config = self.builder_config
        counts, written, other_files = Counts(), 0, 0
        for place, member in _members(config.path, config.progress):
            if not _is_text(member.name):
                other_files += 1
                continue
            # Titles are whole names: a book that is held out is so with all its parts.
            for document in read_stream(
                member.stream,
                place,
                member.name,
                feature="text",
                rule="file",
                encoding_errors=config.encoding_errors,
                counts=counts,
            ):
                written += 1
                yield document
        if not written:
            raise ValueError(
                f"data.sources: path={config.path!r} must hold books, .txt files with text "
                "in them, and holds none"
            )
        notes = {**dataclasses.asdict(counts), "files_that_are_no_books": other_files}
        self.info.metadata["train"] = notes


def fingerprint(path: str, encoding_errors: str) -> str:
    """Hex digest of the names and contents of what `path` means, and of the settings."""
    return fingerprint_files(find_books(path), "books_corpus", VERSION, encoding_errors)


def _members(pattern: str, progress: Progress | None) -> Iterator[tuple[Path, Member]]:
    """Every file, also within archives, with the path to name it by in errors."""
    files = find_books(pattern)
    sizes = [path.stat().st_size for _, path in files]
    total, finished = sum(sizes), 0

    def report(read: int) -> None:
        if progress is not None:
            progress("reading books (MB)", read // _MEGABYTE, total // _MEGABYTE)

    for (name, path), size in zip(files, sizes, strict=True):
        report(finished)
        with contextlib.closing(_open(path)) as packed:
            if not is_archive(path):
                yield path, Member(name, packed)
            else:
                for member in read_members(path, packed):
                    report(finished + packed.tell())
                    yield path / member.name, Member(f"{name}/{member.name}", member.stream)
        finished += size
    report(total)


def _open(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error}") from None


def _is_text(name: str) -> bool:
    """Whether a file is a book, by its name: .txt, maybe compressed."""
    suffixes = [s.lower() for s in Path(name).suffixes]
    while suffixes and suffixes[-1] in COMPRESSED:
        suffixes.pop()
    return suffixes[-1:] == [".txt"]
