"""Corpus to prepared directory: vocabulary, token shards, held-out split, manifest.

    tokenizer/              vocabulary, trained or copied
    shards/                 see bert_jax.data.shards
    unigram_counts.npy      int64[V], how often each id stands in the training text
    manifest.json           written last: with it, the directory is done
    plans/                  made by bert_jax.data.epoch_plan when first needed
    begun.json, work/       what an interrupted preparation needs to go on

The work is done in stages, by local processes or by Apache Beam (bert_jax.data.engines):
ranges of documents become drafts; hashes of the drafts are compared, bucket by bucket;
drafts become training shards, without duplicates; what is held out becomes the eval split,
without what stands in the training text. Every step is atomic and is not done again once
done, so the same call resumes. Memory is bounded by what one item holds, not by the corpus.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from bert_jax.config import Config
from bert_jax.config_sections import SourceConfig
from bert_jax.corpora.sources import source_fingerprint
from bert_jax.data import contamination
from bert_jax.data.assemble import assemble
from bert_jax.data.cache import cache_root as cache_root
from bert_jax.data.corpus import Corpus, Report, open_corpus, training_texts
from bert_jax.data.duplicates import Bucket, DuplicatesStage, num_buckets, spill_path
from bert_jax.data.engines import (
    Engine,
    LocalEngine,
    Stage,
    num_cores,
    run_alone,
    run_stage,
)
from bert_jax.data.files import array_size, digest, file_sha256
from bert_jax.data.manifest import FILE_NAME, Manifest, check_manifest
from bert_jax.data.minhash import check_minhash
from bert_jax.data.near_duplicates import sample_limit
from bert_jax.data.ownership import begin, check_same, lock
from bert_jax.data.ranges import (
    NGRAMS_FILE,
    Job,
    Range,
    RangeStage,
    plan_ranges,
    read_report,
)
from bert_jax.data.selection import (
    FOUND_FILE,
    HELD_OUT_FILE,
    HeldOutStage,
    ShardStage,
    plan_shards,
    save_found,
    save_held_out_shingles,
)
from bert_jax.text.entries import TOKENIZER_FILES
from bert_jax.text.tokenizer import Tokenizer, load_given_tokenizer, load_tokenizer
from bert_jax.text.vocabulary import train_tokenizer


def prepare(
    config: Config,
    directory: Path,
    *,
    report: Report,
    num_processes: int | None = None,
    engine: Engine | None = None,
    verify_hashes: bool = False,
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
        engine: who makes the shards; None for local processes.
        verify_hashes: of data found there, compare every file with its SHA-256.

    Returns:
        The manifest of the prepared directory.

    Raises:
        ValueError: the directory is another's or damaged, or the sources give too little
            text.
    """
    settings = data_settings(config)
    directory.mkdir(parents=True, exist_ok=True)
    # Looked at before locking too: what is done may lie where nothing can be written.
    if not (directory / FILE_NAME).exists():
        with lock(directory):
            if not (directory / FILE_NAME).exists():
                processes = num_processes or num_cores()
                local = LocalEngine(processes)
                with local if engine is None else nullcontext(engine) as worker:
                    return _prepare(config, directory, settings, report, worker, processes)
    manifest = check_manifest(directory, verify_hashes=verify_hashes)
    check_same(directory, manifest.settings, settings)
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
        ValueError: there is nothing at tokenizer.path, or what data.decontaminate names
            cannot be read.
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
        "sources": [_source_settings(source) for source in data.sources],
        "eval_fraction": data.eval_fraction,
        "language": data.language,
        "encoding_errors": data.encoding_errors,
        "drop_duplicates": data.drop_duplicates,
        "near_duplicates": data.near_duplicates,
        "decontaminate": contamination.fingerprint(data.decontaminate),
        "tokenizer": tokenizer,
    }


def _source_settings(source: SourceConfig) -> dict[str, Any]:
    """What of a source decides the shards: its weight is one of the recipe."""
    values = dataclasses.asdict(source)
    del values["weight"]
    return values


def _prepare(
    config: Config,
    directory: Path,
    settings: dict[str, Any],
    report: Report,
    engine: Engine,
    num_processes: int,
) -> Manifest:
    """The steps, in order."""
    # Before the corpus, which may take hours.
    given = load_given_tokenizer(config.tokenizer) if config.tokenizer.path else None
    kinds = _duplicate_kinds(config)
    corpus = open_corpus(config, report)
    begin(directory, settings, [source.fingerprint for source in corpus.sources])
    tokenizer = _make_tokenizer(config, given, directory, corpus, report, num_processes)
    decontaminate = config.data.decontaminate
    if decontaminate and not (directory / NGRAMS_FILE).exists():
        contamination.save_ngrams(directory / NGRAMS_FILE, decontaminate, tokenizer)
    job = Job(
        directory,
        corpus.sources,
        corpus.holdouts,
        corpus.cleaners,
        config.data.language,
        kinds,
        bool(decontaminate),
    )

    def run(label: str, stage: Stage, items: Sequence[Any]) -> None:
        run_stage(engine, stage, items, _counter(label, items, report))

    ranges = plan_ranges(corpus.sources)
    shards = plan_shards(ranges)
    run("tokenize", RangeStage(job), ranges)
    duplicates = DuplicatesStage(directory, len(ranges))
    buckets = {kind: _buckets(directory, kind, len(ranges)) for kind in kinds}
    run("find duplicates", duplicates, [b for of_kind in buckets.values() for b in of_kind])
    tokens = sum(read_report(directory, r.index)["held_out_tokens"] for r in ranges)
    limit = sample_limit(tokens)
    if not (directory / HELD_OUT_FILE).exists():
        save_held_out_shingles(directory, len(ranges), limit)
    left_out = {kind: [duplicates.marker(b) for b in buckets[kind]] for kind in kinds}
    training = ShardStage(directory, left_out, tokenizer.vocab_size)
    run("write shards", training, shards)
    if not (directory / FOUND_FILE).exists():
        save_found(directory, shards)
    held_out = HeldOutStage(directory, limit)
    run("compare splits", held_out, shards)
    stages = (training, held_out)
    return assemble(directory, ranges, shards, stages, corpus.sources, tokenizer, settings)


def _counter(label: str, items: Sequence[Any], report: Report) -> Callable[[Any], None]:
    """Tells the progress of one stage, in documents where items are ranges of them."""

    def size(item: Any) -> int:
        return item.stop - item.start if isinstance(item, Range) else 1

    total, finished = sum(map(size, items)), 0

    def count(item: Any) -> None:
        nonlocal finished
        finished += size(item)
        report(label, finished, total)

    return count


def _duplicate_kinds(config: Config) -> tuple[str, ...]:
    """Which kinds of duplicates to look for."""
    kinds = ["exact"] if config.data.drop_duplicates else []
    if config.data.near_duplicates == "drop":
        check_minhash()
        kinds.append("near")
    return tuple(kinds)


def _buckets(directory: Path, kind: str, num_ranges: int) -> list[Bucket]:
    """The buckets for the rows that the ranges have spilled."""
    rows = sum(array_size(spill_path(directory, kind, i)) // 2 for i in range(num_ranges))
    count = num_buckets(rows)
    return [Bucket(kind, index, count) for index in range(count)]


def _make_tokenizer(
    config: Config,
    given: Tokenizer | None,
    directory: Path,
    corpus: Corpus,
    report: Report,
    num_processes: int,
) -> Tokenizer:
    """The vocabulary in DIRECTORY/tokenizer; trained or copied if it is not there."""
    final = directory / "tokenizer"
    if not final.exists():
        report("vocabulary", 0, 1)
        draft = directory / "work" / "tokenizer"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        if given is not None:
            given.save(draft)
        elif num_processes == 1:
            _train(config, corpus, draft)
        else:
            # It takes hundreds of megabytes, which only the end of a process gives back.
            run_alone(_train, config, corpus, draft)
        draft.rename(final)
    report("vocabulary", 1, 1)
    return load_tokenizer(final)


def _train(config: Config, corpus: Corpus, draft: Path) -> None:
    """Trains a vocabulary on the training text and saves it."""
    train_tokenizer(config.tokenizer, training_texts(corpus)).save(draft)
