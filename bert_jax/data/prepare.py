"""Corpus to prepared directory: vocabulary, token shards, held-out split, manifest.

    tokenizer/              vocabulary, trained or copied
    shards/                 see bert_jax.data.shards
    unigram_counts.npy      int64[V], how often each id stands in the training text
    manifest.json           written last: with it, the directory is done
    plans/                  made by bert_jax.data.epoch_plan when first needed
    begun.json, work/       what an interrupted preparation needs to go on

Every step is atomic and is not done again once done, so the same call resumes.
"""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bert_jax.config import Config
from bert_jax.corpora.documents import DocumentSource
from bert_jax.corpora.sources import open_source, open_validation, source_fingerprint
from bert_jax.data.assemble import assemble
from bert_jax.data.cache import cache_root as cache_root
from bert_jax.data.files import digest, file_sha256, save_json
from bert_jax.data.holdout import (
    EVERYTHING,
    NOTHING,
    Holdout,
    choose_holdout,
    documents_per_read,
)
from bert_jax.data.manifest import FILE_NAME, Manifest, check_manifest
from bert_jax.data.ranges import Job, plan_ranges, run_ranges
from bert_jax.text.entries import TOKENIZER_FILES
from bert_jax.text.tokenizer import Tokenizer, load_given_tokenizer, load_tokenizer
from bert_jax.text.vocabulary import SAMPLE_BYTES, train_tokenizer

Report = Callable[[str, int, int], None]
_OURS = ("begun.json", "work", "shards", "tokenizer", "unigram_counts.npy", "plans")


def prepare(
    config: Config, directory: Path, *, report: Report, num_processes: int | None = None
) -> Manifest:
    """Prepares the data of `config` in `directory`, or finds them there.

    What a directory holds stays as it is: texts that changed since are not looked at
    again (`default_directory` names another directory for them).

    Args:
        config: `data` and `tokenizer` are read.
        directory: made if need be; must be empty, or hold these data, whole or begun.
        report: called with what is being done, how far it is, and of how much.
        num_processes: local processes that make shards; None for one per core. The
            files are the same whatever their number.

    Returns:
        The manifest of the prepared directory.

    Raises:
        ValueError: the directory is another's, or the sources give too little text.
    """
    settings = data_settings(config)
    directory.mkdir(parents=True, exist_ok=True)
    # Looked at before locking too: what is done may lie where nothing can be written.
    if not (directory / FILE_NAME).exists():
        with _lock(directory):
            if not (directory / FILE_NAME).exists():
                return _prepare(config, directory, settings, report, num_processes)
    manifest = check_manifest(directory)
    _check_same(directory, manifest.settings, settings)
    return manifest


def data_directory(config: Config) -> Path:
    """Where the prepared data of `config` lie: `data.directory`, or in the cache."""
    if config.data.directory:
        return Path(config.data.directory)
    return default_directory(config)


def default_directory(config: Config) -> Path:
    """The folder of the cache for the prepared data of `config`.

    It is named after the settings and after what the sources hold at this moment, so
    that text which has changed is prepared anew.
    """
    settings = data_settings(config)
    fingerprints = [
        source_fingerprint(source, config.data) for source in config.data.sources
    ]
    return cache_root() / "data" / digest([settings, fingerprints])


def data_settings(config: Config) -> dict[str, Any]:
    """What of `config` decides the shards; the recipe of pairs does not.

    Raises:
        ValueError: there is nothing at tokenizer.path.
    """
    data = config.data
    tokenizer: dict[str, Any] = dataclasses.asdict(config.tokenizer)
    if config.tokenizer.path:
        path = Path(config.tokenizer.path)
        if not path.exists():
            raise ValueError(
                f"tokenizer.path={path} must be a folder or a vocab.txt; it is not there"
            )
        named = [path / name for name in TOKENIZER_FILES] if path.is_dir() else [path]
        tokenizer["path"] = digest(
            [[file.name, file_sha256(file)] for file in named if file.is_file()]
        )
    return {
        "sources": [dataclasses.asdict(source) for source in data.sources],
        "eval_fraction": data.eval_fraction,
        "language": data.language,
        "encoding_errors": data.encoding_errors,
        "tokenizer": tokenizer,
    }


def _prepare(
    config: Config,
    directory: Path,
    settings: dict[str, Any],
    report: Report,
    num_processes: int | None,
) -> Manifest:
    """The steps, in order."""
    # Before the corpus, which may take hours.
    given = load_given_tokenizer(config.tokenizer) if config.tokenizer.path else None
    sources, holdouts = _open_sources(config, report)
    _begin(directory, settings, [source.fingerprint for source in sources])
    tokenizer = _make_tokenizer(config, given, directory, sources, holdouts, report)
    job = Job(directory, tuple(sources), tuple(holdouts), config.data.language)
    ranges = plan_ranges(sources)
    total, finished = sum(len(source) for source in sources), 0

    def count(documents: int) -> None:
        nonlocal finished
        finished += documents
        report("tokenize", finished, total)

    run_ranges(job, ranges, num_processes=num_processes or _num_cores(), done=count)
    return assemble(directory, len(ranges), sources, tokenizer, settings, report)


def _open_sources(
    config: Config, report: Report
) -> tuple[list[DocumentSource], list[Holdout]]:
    """Training sources, then those that are validation splits, with what is held out."""
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
    return sources + validations, holdouts + [EVERYTHING] * len(validations)


def _begin(directory: Path, settings: dict[str, Any], fingerprints: list[str]) -> None:
    """Marks whose directory this is; clears what was begun from another corpus."""
    path = directory / "begun.json"
    begun = {"settings": settings, "fingerprints": fingerprints}
    if not path.exists():
        others = [
            item.name for item in directory.iterdir() if not item.name.startswith(".")
        ]
        if others:
            raise ValueError(
                f"data.directory={directory} must be empty or hold prepared data, and "
                f"holds {others[0]}; choose another"
            )
    else:
        # Compared as read back, since JSON knows no tuples.
        found = json.loads(path.read_text())
        if found == json.loads(json.dumps(begun)):
            # What a killed process was writing; the lock says that no other is at it.
            for name in ("shards", "work"):
                for draft in (directory / name).glob(".*.tmp"):
                    draft.unlink()
            return
        _check_same(directory, found["settings"], settings)
        for name in _OURS:
            if (directory / name).is_dir():
                shutil.rmtree(directory / name)
            else:
                (directory / name).unlink(missing_ok=True)
    save_json(path, begun)


def _check_same(directory: Path, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    wanted = json.loads(json.dumps(wanted))
    for key in wanted:
        if found[key] != wanted[key]:
            raise ValueError(
                f"data.directory={directory} must hold data of this configuration; it was "
                f"prepared with {key}={found[key]!r}, which is now {wanted[key]!r}: set "
                "data.directory to another folder or leave it empty"
            )


def _make_tokenizer(
    config: Config,
    given: Tokenizer | None,
    directory: Path,
    sources: Sequence[DocumentSource],
    holdouts: Sequence[Holdout],
    report: Report,
) -> Tokenizer:
    """The vocabulary in DIRECTORY/tokenizer; trained or copied if it is not there."""
    final = directory / "tokenizer"
    if not final.exists():
        report("vocabulary", 0, 1)
        tokenizer = given or train_tokenizer(
            config.tokenizer, _training_texts(sources, holdouts)
        )
        draft = directory / "work" / "tokenizer"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        tokenizer.save(draft)
        draft.rename(final)
    report("vocabulary", 1, 1)
    return load_tokenizer(final)


def _training_texts(
    sources: Sequence[DocumentSource], holdouts: Sequence[Holdout]
) -> Iterator[str]:
    """Texts that are not held out: all, or evenly spread megabytes of a large corpus."""
    total = sum(source.num_bytes for source in sources)
    stride = max(1, total // SAMPLE_BYTES)
    for source, holdout in zip(sources, holdouts, strict=True):
        if holdout is EVERYTHING:
            continue
        size = documents_per_read(source)
        for first in range(0, len(source), size * stride):
            for document in source.read(first, min(first + size, len(source))):
                if not holdout.takes(document):
                    yield document.text


def _num_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


@contextmanager
def _lock(directory: Path) -> Iterator[None]:
    """Lets one process at a time prepare a directory; the others wait, and find it done."""
    with open(directory / ".lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
