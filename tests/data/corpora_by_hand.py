"""Small corpora of made-up sentences, and what preparing them gives."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import numpy as np

from bert_jax.config import Config
from bert_jax.data.manifest import Manifest
from bert_jax.data.prepare import prepare
from bert_jax.data.shards import ShardSet
from bert_jax.text.tokenizer import load_tokenizer


def made_up_documents(seed: int, count: int, sentences: int = 12) -> list[list[str]]:
    """Documents of sentences of made-up words, no two of them equal."""
    rng = random.Random(seed)
    words = ["".join(rng.choices("abcdefgh", k=rng.randint(2, 7))) for _ in range(300)]
    return [
        [" ".join(rng.choices(words, k=9)).capitalize() + "." for _ in range(sentences)]
        for _ in range(count)
    ]


def write_texts(path: Path, documents: list[list[str]]) -> dict[str, str]:
    """Writes documents to a text file; returns the source of a configuration."""
    path.write_text("\n\n".join("\n".join(document) for document in documents) + "\n")
    return {"name": "text_files", "path": str(path), "documents": "blank_lines"}


def config_of(*sources: dict[str, str], **data: object) -> Config:
    """A configuration that trains a small vocabulary on some sources."""
    values = {"sources": list(sources), "eval_fraction": 0.1, "sequence_length": 32, **data}
    return Config.from_dict({"data": values, "tokenizer": {"vocab_size": 400}})


def prepare_quietly(config: Config, directory: Path) -> Manifest:
    """Prepares in this process."""
    return prepare(config, directory, report=lambda *_: None, num_processes=1)


def texts_of_split(directory: Path, manifest: Manifest, split: str) -> list[str]:
    """The documents of a split as text, in order."""
    shards = ShardSet(directory, split, manifest.splits[split]["shards"])
    tokenizer = load_tokenizer(directory / "tokenizer")
    bounds = np.asarray(shards.sentence_offsets)[np.asarray(shards.document_offsets)]
    return [
        tokenizer.decode(shards.ids(shards.stretch(start, stop - start)).tolist())
        for start, stop in itertools.pairwise(bounds.tolist())
    ]
