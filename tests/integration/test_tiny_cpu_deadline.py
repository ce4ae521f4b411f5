"""The README's main line, against the clock: alone on the machine, best of three."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

import pytest

FIRST_LOSS_SECONDS = 120
DONE_SECONDS = 600
PEAK_MEMORY_BYTES = 4 * 2**30
NATS_BELOW_UNIGRAM = 0.9
TRIES = 3


class Run(NamedTuple):
    """One run of the main line, from an empty cache."""

    returncode: int
    output: str
    first_loss_seconds: float
    done_seconds: float
    peak_memory_bytes: int
    nats_below_unigram: float


@pytest.mark.deadline
def test_tiny_cpu_trains_within_its_deadlines_and_learns(tmp_path: Path) -> None:
    runs = []
    for attempt in range(TRIES):
        run = _run(tmp_path / str(attempt))
        print(run._replace(output=""))
        runs.append(run)
        if _keeps_deadlines(run):
            break
    best = runs[-1]
    assert best.returncode == 0, best.output[-2000:]
    assert _keeps_deadlines(best), [run._replace(output="") for run in runs]
    assert best.nats_below_unigram >= NATS_BELOW_UNIGRAM
    assert best.output.count("[MASK]") >= 3, best.output[-2000:]


def _keeps_deadlines(run: Run) -> bool:
    return (
        run.first_loss_seconds <= FIRST_LOSS_SECONDS
        and run.done_seconds <= DONE_SECONDS
        and run.peak_memory_bytes <= PEAK_MEMORY_BYTES
    )


def _run(folder: Path) -> Run:
    workdir = folder / "run"
    environment = {
        **{
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("XLA", "JAX_"))
        },
        "JAX_PLATFORMS": "cpu",
        "BERT_JAX_CACHE": str(folder / "cache"),
    }
    command = [sys.executable, "-m", "bert_jax", "pretrain", "--config=tiny_cpu"]
    start = time.monotonic()
    process = subprocess.Popen(
        [*command, f"--workdir={workdir}"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(process.stdout or ()))
    reader.start()
    peak, first_loss = 0, float("inf")
    while process.poll() is None:
        peak = max(peak, _tree_memory(process.pid))
        if first_loss == float("inf") and _has_train_row(workdir / "metrics.jsonl"):
            first_loss = time.monotonic() - start
        if time.monotonic() - start > 2 * DONE_SECONDS:
            process.kill()
        time.sleep(0.5)
    done = time.monotonic() - start
    reader.join()
    return Run(process.returncode, "".join(lines), first_loss, done, peak, _margin(workdir))


def _rows(path: Path) -> list[dict[str, object]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def _has_train_row(path: Path) -> bool:
    return path.exists() and b'"batch_hash"' in path.read_bytes()


def _margin(workdir: Path) -> float:
    """Nats that the last held-out loss is below word frequencies; −inf if unfinished."""
    losses = {
        row["split"]: float(str(row["mlm_loss"]))
        for row in _rows(workdir / "metrics.jsonl")
        if "split" in row
    }
    if "unigram" not in losses:
        return float("-inf")
    return losses["unigram"] - losses["eval"]


def _tree_memory(pid: int) -> int:
    """Resident bytes of a process and its descendants; shared pages count each time."""
    total = 0
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        resident = [line for line in status.splitlines() if line.startswith("VmRSS:")]
        total += int(resident[0].split()[1]) * 1024 if resident else 0
        for task in Path(f"/proc/{pid}/task").iterdir():
            children = (task / "children").read_text().split()
            total += sum(_tree_memory(int(child)) for child in children)
    except (FileNotFoundError, ProcessLookupError):
        return total  # it ended meanwhile
    return total
