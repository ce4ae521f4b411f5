"""Your own text: a TFDS builder over a glob of files."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import tensorflow_datasets as tfds

from bert_jax.corpora.document_builder import DocumentBuilder
from bert_jax.corpora.documents import Document
from bert_jax.corpora.text_lines import Counts
from bert_jax.corpora.text_paths import find_files
from bert_jax.corpora.text_readers import read_documents

VERSION = "1.2.0"
# Within this time of a change, another one may leave the time stamp as it is.
SETTLED_SECONDS = 2.0


@dataclasses.dataclass(kw_only=True)
class TextFilesConfig(tfds.core.BuilderConfig):
    """Which files, and how to read them; `name` is the fingerprint."""

    path: str
    feature: str
    documents: str
    encoding_errors: str
    progress: Callable[[str, int, int], None] | None = None


class TextFiles(DocumentBuilder):
    """Documents of .txt, .jsonl and wikiextractor files, plain or compressed; one split."""

    VERSION = tfds.core.Version(VERSION)

    def split_documents(self) -> Mapping[str, Iterator[Document]]:
        """The one split, train."""
        return {"train": self._read_files()}

    def _read_files(self) -> Iterator[Document]:
        """One file after the other; counts are stored when all are read."""
        config = self.builder_config
        files = find_files(config.path)
        counts, written = Counts(), 0
        for done, (name, path) in enumerate(files):
            if config.progress is not None:
                config.progress("reading text files", done, len(files))
            for document in read_documents(
                path,
                name,
                feature=config.feature,
                rule=config.documents,
                encoding_errors=config.encoding_errors,
                counts=counts,
            ):
                written += 1
                yield document
        if not written:
            raise ValueError(
                f"data.sources: path={config.path!r} has no text in its {len(files)} "
                "files; check the glob"
            )
        self.info.metadata["train"] = dataclasses.asdict(counts)
        if config.progress is not None:
            config.progress("reading text files", len(files), len(files))


def fingerprint(pattern: str, *settings: str) -> str:
    """Hex digest of the files' names and whole contents, and of the settings."""
    return fingerprint_files(find_files(pattern), VERSION, *settings)


def fingerprint_files(files: Iterable[tuple[str, Path]], *settings: str) -> str:
    """Hex digest of the names and whole contents of files, and of the settings.

    A process reads a file again only if it has changed since.
    """
    digest = hashlib.sha256("\0".join(settings).encode())
    for name, path in files:
        digest.update(f"\0{name}\0{_content_sha256(path)}".encode())
    return digest.hexdigest()


def _content_sha256(path: Path) -> str:
    """SHA-256 of a file, from memory where it was read before and stands as it did."""
    facts = path.stat()
    if abs(time.time() - facts.st_ctime) < SETTLED_SECONDS:
        return _read_sha256(path)
    return _known_sha256(path, facts.st_size, facts.st_ctime_ns, facts.st_ino)


@functools.cache
def _known_sha256(path: Path, size: int, changed: int, inode: int) -> str:
    """SHA-256 of the file that looked so; all but the path only tell its states apart."""
    del size, changed, inode
    return _read_sha256(path)


def _read_sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
