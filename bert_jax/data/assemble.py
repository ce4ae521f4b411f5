"""From finished shards to a prepared directory: index, counts, manifest."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bert_jax.corpora.documents import DocumentSource
from bert_jax.data.files import open_array, save_array
from bert_jax.data.manifest import FORMAT_VERSION, Manifest, describe_files
from bert_jax.data.ranges import Range, read_report
from bert_jax.data.selection import HeldOutStage, Shard, ShardStage, read_reports
from bert_jax.data.shards import array_path, merge_offsets
from bert_jax.text.tokenizer import Tokenizer

SPLITS = ("train", "eval")
_OFFSETS = ("sentence_offsets", "document_offsets")


def assemble(
    directory: Path,
    ranges: Sequence[Range],
    shards: Sequence[Shard],
    stages: tuple[ShardStage, HeldOutStage],
    sources: Sequence[DocumentSource],
    tokenizer: Tokenizer,
    settings: dict[str, Any],
) -> Manifest:
    """Makes a prepared directory of finished shards; the manifest comes last.

    Raises:
        ValueError: there is no training text, or no held-out text.
    """
    dropped: Counter[str] = Counter()
    for part in ranges:
        dropped.update(read_report(directory, part.index)["dropped"])
    splits: dict[str, dict[str, int]] = {}
    files: dict[str, dict[str, Any]] = {}
    by_source = {number: Counter[str]() for number in range(len(sources))}
    reports = [read_reports(stage, shards) for stage in stages]
    for split, of_split in zip(SPLITS, reports, strict=True):
        counts: Counter[str] = Counter(documents=0, sentences=0, tokens=0)
        for report in of_split:
            counts.update(report["counts"])
            dropped.update(report["dropped"])
            files.update(report["files"])
            if split == "train":
                for number, of_source in report["sources"].items():
                    by_source[int(number)].update(of_source)
        splits[split] = {**counts, "shards": len(shards)}
    _check_splits(splits, dropped)
    paths = [
        _merge(directory, split, shards, name) for split in SPLITS for name in _OFFSETS
    ]
    paths += [*(directory / "tokenizer").iterdir(), _unigram_counts(directory, shards)]
    manifest = Manifest(
        format_version=FORMAT_VERSION,
        settings=settings,
        sources=_describe(sources, by_source),
        tokenizer_sha256=tokenizer.sha256,
        vocab_size=tokenizer.vocab_size,
        splits=splits,
        dropped=dict(dropped),
        files=dict(sorted({**files, **describe_files(directory, paths)}.items())),
    )
    manifest.save(directory)
    shutil.rmtree(directory / "work")
    return manifest


def _merge(directory: Path, split: str, shards: Sequence[Shard], name: str) -> Path:
    """The index of a split, of those of its shards."""
    work = directory / "work"
    parts = [array_path(work / f"{split}-{shard.index:05d}", name) for shard in shards]
    path = array_path(directory / "shards" / split, name)
    merge_offsets(path, parts)
    return path


def _unigram_counts(directory: Path, shards: Sequence[Shard]) -> Path:
    """The file of counts of all training ids."""
    work = directory / "work"
    parts = [array_path(work / f"train-{shard.index:05d}", "counts") for shard in shards]
    counts_V = np.array(open_array(parts[0]))
    for part in parts[1:]:
        counts_V += open_array(part)
    path = directory / "unigram_counts.npy"
    save_array(path, counts_V)
    return path


def _describe(
    sources: Sequence[DocumentSource], by_source: dict[int, Counter[str]]
) -> list[dict[str, Any]]:
    """The `sources` of the manifest: shards hold them one after the other."""
    described = []
    first = 0
    for number, source in enumerate(sources):
        last = first + by_source[number]["documents"]
        described.append(
            {
                "name": source.name,
                "fingerprint": source.fingerprint,
                "documents": len(source),
                "notes": dict(source.notes),
                "train_documents": [first, last],
                "train_tokens": by_source[number]["tokens"],
            }
        )
        first = last
    return described


def _check_splits(splits: dict[str, dict[str, int]], dropped: Counter[str]) -> None:
    if not splits["train"]["documents"]:
        told = ", ".join(
            f"{reason} {count:,}" for reason, count in dropped.items() if count
        )
        raise ValueError(
            "data.sources must give training text and give none "
            f"(dropped: {told or 'nothing'}); check their paths"
        )
    if not splits["eval"]["documents"]:
        number = dropped["near_duplicates_of_training_text"] + dropped["exact_duplicates"]
        raise ValueError(
            "data.sources must give held-out documents beside those for training "
            f"({number} were left out as duplicates or near-duplicates of training text); "
            "give at least two documents with titles or ids of their own "
            "(documents=blank_lines cuts the files of a source at blank lines), or raise "
            "data.eval_fraction"
        )
