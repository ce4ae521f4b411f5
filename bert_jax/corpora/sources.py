"""From the configuration of a source to its documents."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from bert_jax.config_sections import DataConfig, SourceConfig
from bert_jax.corpora import installed_docs, text_files
from bert_jax.corpora.document_builder import prepare
from bert_jax.corpora.documents import DocumentSource, notes_of

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
        source: installed_docs, text_files, or any TFDS dataset that is prepared already.
        data: eval_fraction and encoding_errors are read.
        cache: folder for the files of the first two; writing is atomic.
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
    builder = _ready_builder(source.name)
    return DocumentSource(
        Path(builder.data_path), name=source.name, split=split, feature=source.feature
    )


def source_fingerprint(source: SourceConfig, data: DataConfig) -> str:
    """Digest of what a source holds at this moment; empty for a dataset of TFDS.

    For text_files every file is read; for installed_docs the installed versions count.
    """
    if source.name == "installed_docs":
        return installed_docs.fingerprint(data.eval_fraction)
    if source.name == "text_files":
        return text_files.fingerprint(
            source.path, source.feature, source.documents, data.encoding_errors
        )
    return ""


def open_validation(
    source: SourceConfig, data: DataConfig, cache: Path, *, progress: Progress | None = None
) -> DocumentSource | None:
    """The source's own validation split; None if it has none or trains on another."""
    if source.name == "text_files" or source.split.split("[")[0] != "train":
        return None
    if source.name != "installed_docs":
        builder = _ready_builder(source.name)
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


def _builder(cls: Any, config: Any, cache: Path) -> Any:
    with _quiet():
        return cls(data_dir=str(cache), config=config, file_format="array_record")


def _open_own(
    builder: Any, digest: str, source: SourceConfig, split: str
) -> DocumentSource:
    """Prepares one of our builders and opens it; TFDS renames the folder at the end."""
    with _quiet():
        prepare(builder)
    base = split.split("[")[0]
    stored = tfds.builder_from_directory(str(builder.data_path))
    return DocumentSource(
        Path(builder.data_path),
        name=source.name,
        split=split,
        feature="text",
        fingerprint=digest,
        notes=notes_of(stored.info.metadata, base),
    )


def _ready_builder(name: str) -> Any:
    """A TFDS dataset that was prepared before; nothing is downloaded.

    TFDS knows its Beam datasets, Wikipedia among them, only once one of them is loaded.
    """
    assert tfds.text.Wikipedia is not None
    try:
        with _quiet():
            builder = tfds.builder(name, file_format="array_record")
    except tfds.core.DatasetNotFoundError:
        raise ValueError(
            f"data.sources: name={name!r} must be installed_docs, text_files or a TFDS "
            "dataset such as pg19"
        ) from None
    if not builder.is_prepared():
        raise ValueError(
            f"data.sources: {name} is not prepared under {builder.data_dir}; set "
            "TFDS_DATA_DIR to where it is, or run (after pip install 'bert_jax[beam]' for "
            'Wikipedia) python -c "import tensorflow_datasets as tfds; '
            f"tfds.text.Wikipedia; tfds.builder('{name}', file_format='array_record')"
            '.download_and_prepare()"'
        )
    return builder


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """TFDS prints banners and bars; ours stand in their place."""
    tfds.disable_progress_bar()
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
