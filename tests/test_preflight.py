"""Mistakes that are seen before JAX is imported."""

from __future__ import annotations

import pathlib
import time
from typing import Any

import pytest

MAIN = "import sys; from bert_jax.cli import main; code = main(sys.argv[1:]); " + (
    "print([m for m in ('jax', 'tensorflow_datasets') if m in sys.modules]); sys.exit(code)"
)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("pretrain", "--config=text_mini:{tmp}/none/*.txt", "--workdir={tmp}/w"),
            "matches no file",
        ),
        (("prepare", "--config=text_mini:{tmp}/none/*.txt"), "matches no file"),
        (
            (
                "pretrain",
                "--config=tiny_cpu",
                "--config.tokenizer.path={tmp}/none",
                "--workdir={tmp}/w",
            ),
            "tokenizer.path={tmp}/none must be a folder or a vocab.txt",
        ),
        (
            ("pretrain", "--config=tiny_cpu", "--workdir={tmp}/file/w"),
            "must be a folder",
        ),
        (("evaluate", "--workdir={tmp}/w"), "must be the folder of a run"),
    ],
)
def test_a_mistake_is_told_at_once_and_leaves_nothing(
    arguments: tuple[str, ...], said: str, tmp_path: pathlib.Path, run_python: Any
) -> None:
    (tmp_path / "file").touch()
    given = [argument.format(tmp=tmp_path) for argument in arguments]
    start = time.perf_counter()
    done = run_python("-c", MAIN, *given)
    assert done.returncode == 2
    assert said.format(tmp=tmp_path) in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout.strip() == "[]"
    assert time.perf_counter() - start < 3
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("verb", ["pretrain", "prepare"])
def test_a_dataset_that_does_not_exist_is_told_before_jax_starts(
    verb: str, tmp_path: pathlib.Path, run_python: Any
) -> None:
    workdir = [f"--workdir={tmp_path}/w"] if verb == "pretrain" else []
    done = run_python(
        *("-c", MAIN, verb, "--config=tiny_cpu", "--config.data.sources=wikipdia"), *workdir
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "data.sources: name='wikipdia' must be" in line
    assert done.stdout.strip() == "['tensorflow_datasets']"
    assert list(tmp_path.iterdir()) == []
