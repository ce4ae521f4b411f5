"""A pretraining run that takes seconds: its text, its configuration, its workdir.

Imported by the conftest.py of the folders that use its fixtures; imports nothing but
pytest until a fixture is asked for.
"""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


def write_text(path: Path, *, seed: int, documents: int = 60) -> None:
    """Documents of invented sentences, separated by blank lines, one sentence a line."""
    rng = random.Random(seed)
    syllables = ["".join(pair) for pair in itertools.product("bdfgklmnprst", "aeiou")]
    words = ["".join(rng.choices(syllables, k=rng.randint(1, 3))) for _ in range(150)]

    def sentence() -> str:
        return " ".join(rng.choices(words, k=rng.randint(4, 12))).capitalize() + "."

    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        "\n".join(
            "\n".join(sentence() for _ in range(rng.randint(5, 15))) + "\n"
            for _ in range(documents)
        )
    )


def tiny_values(text: Path, **train: Any) -> dict[str, Any]:
    """A configuration as nested values: hidden size 32, 2 layers, 8 rows of 32 tokens."""
    return {
        "model": {
            "name": "tiny",
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 64,
            "max_position_embeddings": 32,
        },
        "data": {
            "sources": [{"name": "text_files", "path": str(text)}],
            "sequence_length": 32,
            "max_predictions_per_sequence": 5,
            "eval_fraction": 0.1,
        },
        "tokenizer": {"vocab_size": 256},
        "optim": {"learning_rate": 1e-3, "warmup_steps": 2},
        "train": {
            "num_steps": 6,
            "global_batch_size": 8,
            "log_every_steps": 1,
            "eval_every_steps": 3,
            "save_every_steps": 3,
            "eval_batches": 2,
            **train,
        },
    }


def write_config(path: Path, values: dict[str, Any]) -> Path:
    """The configuration as the JSON file that `--config` takes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"format_version": 1, **values}))
    return path


@pytest.fixture(scope="session")
def tiny_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of this test session share."""
    base = tmp_path_factory.getbasetemp()
    root = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    (root / "tiny").mkdir(exist_ok=True)
    return root / "tiny"


@pytest.fixture(scope="session")
def tiny_config(tiny_root: Path) -> Callable[..., Any]:
    """A function of fields of `train` that gives a Config over prepared text."""
    from bert_jax.config import Config
    from bert_jax.data.prepare import prepare

    text = tiny_root / "text" / "a.txt"
    with _locked(tiny_root), pytest.MonkeyPatch.context() as patch:
        patch.setenv("BERT_JAX_CACHE", str(tiny_root / "cache"))
        if not text.exists():
            write_text(text, seed=0)
        config = Config.from_dict(tiny_values(text))
        prepare(config, tiny_root / "data", report=lambda *_: None, num_processes=1)

    def make(**train: Any) -> Config:
        values = tiny_values(text, **train)
        values["data"]["directory"] = str(tiny_root / "data")
        return Config.from_dict(values)

    return make


@pytest.fixture(scope="session")
def tiny_workdir(tiny_root: Path, tiny_config: Callable[..., Any]) -> Path:
    """The workdir of a finished run of `tiny_config()`; not to be written to."""
    from bert_jax.report.progress import Progress
    from bert_jax.train.pretrain import pretrain

    workdir = tiny_root / "run"
    with _locked(tiny_root), pytest.MonkeyPatch.context() as patch:
        patch.setenv("BERT_JAX_CACHE", str(tiny_root / "cache"))
        if not (workdir / "done").exists():
            with open(os.devnull, "w") as nowhere, Progress(nowhere) as progress:
                pretrain(tiny_config(), workdir, progress)
            (workdir / "done").touch()
    return workdir


@contextmanager
def _locked(root: Path) -> Iterator[None]:
    with open(root / ".lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
