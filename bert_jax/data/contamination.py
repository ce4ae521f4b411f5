"""Training text that gives away an evaluation: found by stretches of 13 tokens.

A document that has any 13 tokens in a row in common with the files of `data.decontaminate`
is left out. Texts of fewer tokens in these files find nothing.

Source: Brown et al. 2020 (GPT-3), appendix C: overlap of 13-grams.
Differs: 13 tokens of the run's vocabulary, which are fewer words than their 13 words, so
more is left out; the whole document goes, not the passage around the overlap; stretches
that are frequent in the corpus count, too. Stretches with [UNK] in them do not count.
"""

from __future__ import annotations

import csv
import glob
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bert_jax.data.files import digest, file_sha256
from bert_jax.data.hash_set import HashSet, save_hash_set, shingle_hashes
from bert_jax.text.tokenizer import Tokenizer

NGRAM_TOKENS = 13
_TEXTS_PER_BATCH = 1000
_KINDS = (".txt", ".tsv", ".csv", ".jsonl", ".json")


def evaluation_files(patterns: Sequence[str]) -> list[Path]:
    """The files that globs name, in order.

    Raises:
        ValueError: a glob finds none, or one of a kind that cannot be read.
    """
    paths: set[Path] = set()
    for pattern in patterns:
        found = {Path(name) for name in glob.glob(pattern, recursive=True)}
        found = {path for path in found if path.is_file()}
        if not found:
            raise ValueError(
                f"data.decontaminate: {pattern!r} must find files and finds none; check it"
            )
        for path in sorted(found):
            if path.suffix not in _KINDS:
                raise ValueError(
                    f"data.decontaminate: {path} must end in one of {', '.join(_KINDS)}"
                )
        paths |= found
    return sorted(paths)


def fingerprint(patterns: Sequence[str]) -> list[str]:
    """What stands for the content of the files of `data.decontaminate` in settings."""
    return [digest([path.name, file_sha256(path)]) for path in evaluation_files(patterns)]


def save_ngrams(path: Path, patterns: Sequence[str], tokenizer: Tokenizer) -> None:
    """Writes the `HashSet` of all 13-grams of evaluation files.

    Raises:
        ValueError: a file is not what its name says, or none of them has a 13-gram.
    """
    hashes = [np.zeros(0, np.uint64)]
    for file in evaluation_files(patterns):
        batch: list[str] = []
        for text in _texts(file):
            batch.append(text)
            if len(batch) == _TEXTS_PER_BATCH:
                hashes.append(_ngrams_of(batch, tokenizer))
                batch = []
        hashes.append(_ngrams_of(batch, tokenizer))
    if not any(map(len, hashes)):
        raise ValueError(
            f"data.decontaminate: {', '.join(patterns)} must hold texts of {NGRAM_TOKENS} "
            "tokens or more, and hold none; leave it empty or give other files"
        )
    save_hash_set(path, np.concatenate(hashes))


def contaminated(ngrams: HashSet, ids: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """bool[D]: which documents share a 13-gram with the evaluation files.

    Args:
        ngrams: what `save_ngrams` wrote.
        ids: int[T], documents end to end.
        bounds: int64[D+1], where each begins, and the end.
    """
    starts, _ = ngrams.find(shingle_hashes(ids, NGRAM_TOKENS))
    documents = np.searchsorted(bounds, starts, side="right") - 1
    within = starts + NGRAM_TOKENS <= bounds[documents + 1]
    result = np.zeros(len(bounds) - 1, bool)
    result[documents[within]] = True
    return result


def _ngrams_of(texts: list[str], tokenizer: Tokenizer) -> np.ndarray:
    """uint64[N], distinct: hashes of the 13-grams inside each text."""
    ids, offsets = tokenizer.encode_batch(texts)
    hashes = shingle_hashes(ids, NGRAM_TOKENS)
    starts = np.arange(len(hashes))
    text = np.searchsorted(offsets, starts, side="right") - 1
    unknown = np.concatenate([[0], np.cumsum(ids == tokenizer.unk_id)])
    is_known = unknown[starts + NGRAM_TOKENS] == unknown[starts]
    return np.unique(hashes[is_known & (starts + NGRAM_TOKENS <= offsets[text + 1])])


def _texts(path: Path) -> Iterator[str]:
    """Every line, cell or string of a file."""
    with open(path, encoding="utf-8-sig", errors="replace", newline="") as file:
        try:
            if path.suffix == ".csv":
                for row in csv.reader(file):
                    yield from row
            elif path.suffix == ".json":
                yield from _strings(json.load(file))
            elif path.suffix == ".jsonl":
                for line in file:
                    if line.strip():
                        yield from _strings(json.loads(line))
            else:
                for line in file:
                    yield from line.split("\t")
        except (ValueError, csv.Error) as error:
            raise ValueError(
                f"data.decontaminate: {path} must be {path.suffix[1:]} ({error})"
            ) from None


def _strings(value: Any) -> Iterator[str]:
    """All strings in a value of JSON, keys apart."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _strings(item)
