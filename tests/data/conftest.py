"""A prepared directory made by hand, for tests of what stands on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from bert_jax.data.manifest import FORMAT_VERSION, Manifest, describe_files
from bert_jax.data.shards import ShardBuilder, array_path, merge_offsets, write_shard

VOCAB_SIZE = 500
TOKENIZER = SimpleNamespace(sha256="f" * 64, cls_id=2, sep_id=3, pad_id=0)

Documents = list[list[list[int]]]


def random_documents(seed: int, count: int) -> Documents:
    """Documents of sentences of ids 5 … 499, of very unequal lengths."""
    rng = np.random.default_rng(seed)
    return [
        [
            rng.integers(5, VOCAB_SIZE, 1 + rng.poisson(12)).tolist()
            for _ in range(rng.geometric(0.1))
        ]
        for _ in range(count)
    ]


@pytest.fixture
def documents() -> Documents:
    """150 random documents."""
    return random_documents(0, 150)


@pytest.fixture
def prepared(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes documents as a prepared directory of two shards a split.

    `sources` are the documents of each, first and end.
    """

    def write(
        train: Documents,
        held_out: Documents,
        name: str = "prepared",
        sources: Sequence[tuple[int, int]] = (),
    ) -> Path:
        directory = tmp_path / name
        splits = {
            "train": _write_split(directory, "train", train),
            "eval": _write_split(directory, "eval", held_out),
        }
        Manifest(
            format_version=FORMAT_VERSION,
            settings={},
            sources=[{"train_documents": list(part), "notes": {}} for part in sources],
            tokenizer_sha256=TOKENIZER.sha256,
            vocab_size=VOCAB_SIZE,
            splits=splits,
            dropped={},
            files=describe_files(directory, list((directory / "shards").iterdir())),
        ).save(directory)
        return directory

    return write


@pytest.fixture
def tokenizer() -> SimpleNamespace:
    """What a stream needs of a tokenizer."""
    return TOKENIZER


def _write_split(directory: Path, split: str, documents: Documents) -> dict[str, int]:
    starts_V = np.arange(VOCAB_SIZE) % 2 == 0
    half = len(documents) // 2
    parts = []
    for index, part in enumerate((documents[:half], documents[half:])):
        builder = ShardBuilder(starts_V)
        for document in part:
            ids = np.array([token for sentence in document for token in sentence])
            builder.add(ids, np.array([len(sentence) for sentence in document]))
        prefix = directory / "shards" / f"{split}-{index:05d}"
        write_shard(prefix, directory.parent / "parts" / prefix.name, builder.arrays())
        parts.append(directory.parent / "parts" / prefix.name)
    for name in ("sentence_offsets", "document_offsets"):
        merge_offsets(
            array_path(directory / "shards" / split, name),
            [array_path(part, name) for part in parts],
        )
    return {
        "documents": len(documents),
        "sentences": sum(map(len, documents)),
        "tokens": sum(len(sentence) for document in documents for sentence in document),
        "shards": 2,
    }
