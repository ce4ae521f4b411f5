"""How long it takes to load BERT-base, against reading its bytes and hashing them."""

from __future__ import annotations

import gc
import hashlib
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import pytest
from flax import nnx
from safetensors.numpy import load_file

from bert_jax import BertConfig, BertForPreTraining
from bert_jax.formats.hashes import write_hashes


def seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    result = call()
    elapsed = time.perf_counter() - start
    del result
    gc.collect()
    return elapsed


@pytest.mark.deadline
def test_loading_takes_little_more_than_reading(tmp_path: Path) -> None:
    """Both check the hash; rounds are interleaved, the files are in memory."""
    BertForPreTraining(BertConfig(), rngs=nnx.Rngs(0)).save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    write_hashes(tmp_path, [file.name])
    assert file.stat().st_size > 430e6

    def read() -> Any:
        arrays = load_file(file)
        with file.open("rb") as content:
            hashlib.file_digest(content, "sha256")
        return arrays

    def load() -> Any:
        model, _ = BertForPreTraining.load(tmp_path)
        jax.block_until_ready(nnx.state(model))
        return model

    seconds(read), seconds(load)  # the first call of each also touches fresh memory
    rounds = [(seconds(read), seconds(load)) for _ in range(7)]
    ratio = statistics.median(ours / theirs for theirs, ours in rounds)
    lines = " ".join(f"{theirs:.2f}/{ours:.2f}" for theirs, ours in rounds)
    print(f"read and hashed/loaded, s: {lines}; median ratio {ratio:.2f}")
    assert ratio <= 1.5
