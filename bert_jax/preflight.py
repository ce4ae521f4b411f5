"""What can be wrong with a command and is seen before JAX is imported."""

from __future__ import annotations

import os
from pathlib import Path

from bert_jax.config import Config
from bert_jax.corpora.text_paths import find_books, find_files
from bert_jax.data.cache import cache_root


def check_inputs(config: Config) -> None:
    """Looks for the files and the datasets that a configuration names.

    Raises:
        ValueError: a glob matches nothing, TFDS has no such dataset on disk, or there is
            nothing at tokenizer.path.
    """
    for source in config.data.sources:
        if source.path:
            find = find_books if source.name == "books_corpus" else find_files
            find(source.path)
        elif source.name != "installed_docs" and not config.data.download:
            from bert_jax.corpora.sources import open_source  # imports TFDS

            open_source(source, config.data, cache_root())
    path = config.tokenizer.path
    if path and not Path(path).exists():
        raise ValueError(
            f"tokenizer.path={path} must be a folder or a vocab.txt; it is not there"
        )


def has_checkpoint(workdir: Path) -> bool:
    """Whether a run in a folder goes on: what its data were made from may be gone."""
    return any(path.name.isdecimal() for path in (workdir / "checkpoints").glob("*"))


def check_can_be_written(workdir: Path) -> None:
    """Looks whether a workdir is there and can be written, or can be made.

    Raises:
        ValueError: it cannot.
    """
    place = workdir.absolute()
    while not place.exists():
        place = place.parent
    if not place.is_dir():
        raise ValueError(f"workdir={workdir} must be a folder; {place} is a file")
    if not os.access(place, os.W_OK | os.X_OK):
        raise ValueError(
            f"workdir={workdir} must be a folder that can be written; {place} cannot"
        )


def check_is_run(workdir: Path) -> None:
    """Looks whether a folder is that of a run.

    Raises:
        ValueError: it is not.
    """
    if not (workdir / "config.json").is_file():
        raise ValueError(
            f"workdir={workdir} must be the folder of a run "
            f"({workdir / 'config.json'} is missing)"
        )
