"""A trained vocabulary is of the training text: held-out words do not enter it."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np

from bert_jax.config import Config
from bert_jax.data.manifest import check_manifest
from bert_jax.data.prepare import prepare
from bert_jax.data.shards import ShardSet
from bert_jax.text.tokenizer import load_tokenizer


def words_of(directory: Path, split: str) -> set[str]:
    """All words that a split holds, from its tokens."""
    facts = check_manifest(directory).splits[split]
    shards = ShardSet(directory, split, facts["shards"])
    tokenizer = load_tokenizer(directory / "tokenizer")
    starts = np.asarray(shards.sentence_offsets)[np.asarray(shards.document_offsets)]
    lengths = np.diff(starts)
    stored = np.zeros((len(lengths), lengths.max()), shards.token_dtype)
    shards.gather(
        starts[:-1], lengths, np.arange(len(lengths)), np.zeros_like(lengths), stored
    )
    rows = zip(shards.ids(stored), lengths.tolist(), strict=True)
    return {
        word
        for row, length in rows
        for word in tokenizer.decode(row[:length].tolist()).split()
    }


def test_the_vocabulary_knows_nothing_of_held_out_documents(tmp_path, monkeypatch):
    """Each document has a word of its own; those of training become entries."""
    monkeypatch.setenv("BERT_JAX_CACHE", str(tmp_path / "cache"))
    rng = random.Random(1)
    common = ["".join(rng.choices("abcdefghik", k=rng.randint(2, 5))) for _ in range(20)]
    own = ["".join(rng.choices("abcdefghik", k=7)) for _ in range(40)]
    documents = [
        "\n".join(
            " ".join([*rng.choices(common, k=6), word, word]).capitalize() + "."
            for _ in range(12)
        )
        for word in own
    ]
    (tmp_path / "texts.txt").write_text("\n\n".join(documents))
    source = {"name": "text_files", "path": str(tmp_path / "texts.txt")}
    config = Config.from_dict(
        {
            "data": {"sources": [source], "eval_fraction": 0.2, "sequence_length": 32},
            "tokenizer": {"vocab_size": 1000},
        }
    )
    directory = tmp_path / "data"
    prepare(config, directory, report=lambda *_: None, num_processes=1)
    trained = words_of(directory, "train") & set(own)
    held_out = words_of(directory, "eval") & set(own)
    assert len(held_out) > 4 and trained == set(own) - held_out
    entries = set((directory / "tokenizer" / "vocab.txt").read_text().splitlines())
    assert trained <= entries
    assert not held_out & entries
