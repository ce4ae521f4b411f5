"""From finished ranges to a prepared directory: held-out split, index, counts, manifest."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bert_jax.corpora.documents import DocumentSource
from bert_jax.data.files import open_array, save_array
from bert_jax.data.manifest import FORMAT_VERSION, Manifest, describe_files
from bert_jax.data.near_duplicates import DuplicateFinder
from bert_jax.data.ranges import read_report
from bert_jax.data.shards import (
    array_path,
    merge_offsets,
    offsets_of,
    read_shard,
    word_start_bit,
    write_shard,
)
from bert_jax.text.tokenizer import Tokenizer

_COUNT_CHUNK = 1 << 22


def assemble(
    directory: Path,
    num_ranges: int,
    sources: Sequence[DocumentSource],
    tokenizer: Tokenizer,
    settings: dict[str, Any],
    report: Callable[[str, int, int], None],
) -> Manifest:
    """Makes a prepared directory of finished ranges; the manifest comes last.

    Raises:
        ValueError: there is no training text, or no held-out text.
    """
    reports = [read_report(directory, index) for index in range(num_ranges)]
    duplicates = _scan(directory, reports, tokenizer.vocab_size, report)
    dropped = {"near_duplicates_of_training_text": int(duplicates.sum())}
    for counts in reports:
        for reason, number in counts["dropped"].items():
            dropped[reason] = dropped[reason] + number if reason in dropped else number
    train = {
        key: sum(counts["train"][key] for counts in reports)
        for key in ("documents", "sentences", "tokens")
    }
    splits = {
        "train": {**train, "shards": num_ranges},
        "eval": {**_write_eval(directory, num_ranges, duplicates), "shards": num_ranges},
    }
    _check_splits(splits, dropped)
    work, shards = directory / "work", directory / "shards"
    for name in ("sentence_offsets", "document_offsets"):
        for split in splits:
            parts = [array_path(work / f"{split}-{i:05d}", name) for i in range(num_ranges)]
            merge_offsets(array_path(shards / split, name), parts)
    paths = [*shards.glob("*.npy"), *(directory / "tokenizer").iterdir()]
    manifest = Manifest(
        format_version=FORMAT_VERSION,
        settings=settings,
        sources=[_describe(source) for source in sources],
        tokenizer_sha256=tokenizer.sha256,
        vocab_size=tokenizer.vocab_size,
        splits=splits,
        dropped=dropped,
        files=describe_files(directory, [*paths, directory / "unigram_counts.npy"]),
    )
    manifest.save(directory)
    shutil.rmtree(work)
    return manifest


def _describe(source: DocumentSource) -> dict[str, Any]:
    return {
        "name": source.name,
        "fingerprint": source.fingerprint,
        "documents": len(source),
        "notes": dict(source.notes),
    }


def _scan(
    directory: Path,
    reports: Sequence[dict[str, Any]],
    vocab_size: int,
    report: Callable[[str, int, int], None],
) -> np.ndarray:
    """Reads all shards once: counts training ids, finds near-duplicates held out."""
    finder = DuplicateFinder(sum(counts["held_out"]["tokens"] for counts in reports))
    for index in range(len(reports)):
        finder.add_held_out(*read_shard(directory / "work" / f"held_out-{index:05d}"))
    counts_V = np.zeros(vocab_size, np.int64)
    for index in range(len(reports)):
        tokens = open_array(
            array_path(directory / "shards" / f"train-{index:05d}", "tokens")
        )
        mask = tokens.dtype.type(word_start_bit(tokens.dtype) - 1)
        for start in range(0, len(tokens), _COUNT_CHUNK):
            ids = tokens[start : start + _COUNT_CHUNK] & mask
            counts_V += np.bincount(ids, minlength=vocab_size)
        finder.add_training(tokens)
        report("compare splits", index + 1, len(reports))
    save_array(directory / "unigram_counts.npy", counts_V)
    return finder.duplicates()


def _write_eval(directory: Path, num_ranges: int, duplicates: np.ndarray) -> dict[str, int]:
    """Writes the held-out shards without the documents that are near-duplicates."""
    totals = {"documents": 0, "sentences": 0, "tokens": 0}
    first = 0
    for index in range(num_ranges):
        work = directory / "work"
        tokens, sentences, documents = read_shard(work / f"held_out-{index:05d}")
        kept = np.flatnonzero(~duplicates[first : first + len(documents) - 1])
        first += len(documents) - 1
        sentence_lengths = [np.zeros(0, np.int64)]
        stretches = [np.zeros(0, tokens.dtype)]
        for document in kept.tolist():
            begin, end = int(documents[document]), int(documents[document + 1])
            sentence_lengths.append(np.diff(sentences[begin : end + 1]))
            stretches.append(tokens[sentences[begin] : sentences[end]])
        arrays = (
            np.concatenate(stretches),
            offsets_of(np.concatenate(sentence_lengths)),
            offsets_of(np.diff(documents)[kept]),
        )
        name = f"eval-{index:05d}"
        write_shard(directory / "shards" / name, work / name, arrays)
        for key, array in zip(("tokens", "sentences", "documents"), arrays, strict=True):
            totals[key] += len(array) - (key != "tokens")
    return totals


def _check_splits(splits: dict[str, dict[str, int]], dropped: dict[str, int]) -> None:
    if not splits["train"]["documents"]:
        raise ValueError(
            "data.sources must give training text and give none; check their paths"
        )
    if not splits["eval"]["documents"]:
        number = dropped["near_duplicates_of_training_text"]
        raise ValueError(
            "data.sources must give held-out documents beside those for training "
            f"({number} were left out as near-duplicates of training text); give at least "
            "two documents with titles or ids of their own (documents=blank_lines cuts the "
            "files of a source at blank lines), or raise data.eval_fraction"
        )
