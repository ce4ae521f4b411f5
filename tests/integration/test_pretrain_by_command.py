"""From text to answers through the command line, and a run that is killed on its way."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from tiny_run import tiny_values, write_config, write_text

from bert_jax.formats.orbax import load_params
from bert_jax.report.metrics_file import read_metrics

ENVIRONMENT = {"JAX_NUM_CPU_DEVICES": "1"}


@pytest.fixture
def text(tiny_root: Path) -> Path:
    """One text for all tests here, so that it is prepared once."""
    path = tiny_root / "command" / "text" / "a.txt"
    if not path.exists():
        write_text(path, seed=5)
    return path


@pytest.fixture
def command(run_python: Any, tiny_root: Path, tmp_path: Path) -> Callable[..., Any]:
    """Runs `bert-jax ARGUMENTS…` to its end."""

    def run(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        env = {**ENVIRONMENT, "BERT_JAX_CACHE": str(tiny_root / "command" / "cache")}
        done = run_python("-m", "bert_jax", *arguments, cwd=tmp_path, env=env)
        assert done.returncode == code, done.stderr
        return done

    return run


def test_from_text_to_answers(command: Any, text: Path, tmp_path: Path) -> None:
    config = f"--config={write_config(tmp_path / 'tiny.json', tiny_values(text))}"
    prepared = Path(command("prepare", config).stdout.strip())
    assert (prepared / "manifest.json").is_file()

    trained = command("pretrain", config, "--workdir=run")
    assert str(prepared) in (tmp_path / "run" / "config.json").read_text()
    assert "compiling the train step" in trained.stderr
    assert "step 6/6" in trained.stderr
    assert "The model is in run" in trained.stdout
    assert re.search("nats (below|ABOVE) word frequencies", trained.stdout)
    assert trained.stdout.count("[MASK]") >= 3

    found = json.loads(command("evaluate", "--workdir=run").stdout)
    last = [row for row in read_metrics(tmp_path / "run") if "split" in row]
    by_split = {row["split"]: row for row in last}
    assert found["step"] == 6
    assert found["mlm_loss"] == pytest.approx(by_split["eval"]["mlm_loss"], rel=1e-6)

    answers = command("fill-mask", "run", "ba [MASK] bo.", "--top-k=3", "--json").stdout
    (answer,) = map(json.loads, answers.splitlines())
    assert answer["text"] == "ba [MASK] bo."
    assert len(answer["predictions"]) == 3

    # The same command again, though the text is gone: at once, and nothing is another.
    text.unlink()  # the fixture writes it anew for the next test
    rows = (tmp_path / "run" / "metrics.jsonl").read_text()
    again = command("pretrain", config, "--workdir=run")
    assert (tmp_path / "run" / "metrics.jsonl").read_text() == rows
    assert "compiling" not in again.stderr


def test_mistakes_are_told_in_one_line(command: Any, text: Path, tmp_path: Path) -> None:
    config = f"--config={write_config(tmp_path / 'tiny.json', tiny_values(text))}"
    for arguments, said in (
        (("pretrain", config, "--workdir=run", "--config.mesh.fsdp=2"), "mesh.fsdp=2"),
        (("evaluate", "--workdir=nothing"), "must be the folder of a run"),
        (("fill-mask", "nothing", "a [MASK]"), "nothing"),
    ):
        done = command(*arguments, code=2)
        (line,) = done.stderr.splitlines()
        assert line.startswith("bert-jax: ")
        assert said in line
        assert done.stdout == ""
    assert not (tmp_path / "run").exists()


def rows(workdir: Path) -> list[dict[str, Any]]:
    """Rows in the order of steps, without what time decides."""
    timed = ("tokens_per_second", "mfu")
    found = [
        {name: value for name, value in row.items() if name not in timed}
        for row in read_metrics(workdir)
    ]
    return sorted(found, key=lambda row: (row["step"], row.get("split", "")))


def params_bytes(workdir: Path) -> list[bytes]:
    """The parameters of the newest checkpoint."""
    return [
        np.asarray(leaf).tobytes()
        for leaf in jax.tree.leaves(load_params(workdir / "checkpoints")[1])
    ]


def kill_after(step: int, arguments: list[str], workdir: Path, env: dict[str, str]) -> int:
    """Starts a run, kills it when it has logged `step`; returns the last step logged."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bert_jax", *arguments],
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    try:
        while not any(row["step"] >= step for row in read_metrics(workdir)):
            assert process.poll() is None, "ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.002)
    finally:
        process.kill()
    assert process.wait() == -signal.SIGKILL
    return max(row["step"] for row in read_metrics(workdir))


@pytest.mark.slow
def test_killed_and_resumed_is_never_killed(
    command: Any, text: Path, tmp_path: Path, tiny_root: Path
) -> None:
    import bert_jax

    num_steps = 400
    values = tiny_values(
        text, num_steps=num_steps, eval_every_steps=150, save_every_steps=20
    )
    config = f"--config={write_config(tmp_path / 'tiny.json', values)}"
    command("pretrain", config, "--workdir=whole")
    env = {
        **os.environ,
        **ENVIRONMENT,
        "BERT_JAX_CACHE": str(tiny_root / "command" / "cache"),
        "PYTHONPATH": str(Path(bert_jax.__file__).parent.parent),
    }
    killed = tmp_path / "killed"
    arguments = ["pretrain", config, f"--workdir={killed}"]
    for step in (3, 65, 210):  # before the first checkpoint, and between two
        last = kill_after(step, arguments, killed, env)
        assert step <= last < num_steps
    command(*arguments)
    whole = rows(tmp_path / "whole")
    assert rows(killed) == whole
    assert len([row for row in whole if "split" not in row]) == num_steps
    assert params_bytes(killed) == params_bytes(tmp_path / "whole")

    # Negative control: another order of the data gives other rows and parameters.
    command("pretrain", config, "--workdir=other", "--config.data.seed=1")
    other = rows(tmp_path / "other")
    for name in ("loss", "grad_norm", "batch_hash"):
        assert [row[name] for row in other if "split" not in row] != [
            row[name] for row in whole if "split" not in row
        ]
    assert params_bytes(tmp_path / "other") != params_bytes(tmp_path / "whole")
