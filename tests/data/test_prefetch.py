"""Batches from threads and processes: the same, in order; who hangs or dies is named."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from data.in_workers import Numbered

from bert_jax.data.prefetch import prefetch_batches


def run(make: Numbered, num_workers: int, stall_seconds: float = 60.0) -> list[int]:
    batches = prefetch_batches(
        make,
        3,
        15,
        prefetch=2,
        num_workers=num_workers,
        stall_seconds=stall_seconds,
        what="train batches",
    )
    return [int(batch[0]) for batch in batches]


@pytest.mark.parametrize("num_workers", [0, 1, 3])
def test_order_and_content_do_not_depend_on_workers(tmp_path, num_workers):
    assert run(Numbered(tmp_path), num_workers) == list(range(3, 15))
    workers = {int(path.name) for path in tmp_path.iterdir()}
    assert len(workers) == max(num_workers, 1)
    assert (os.getpid() in workers) == (num_workers == 0)


def test_workers_are_spawned_without_an_accelerator_and_leave_with_the_run(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("JAX_PLATFORMS", "tpu")
    run(Numbered(tmp_path), 2)
    assert os.environ["JAX_PLATFORMS"] == "tpu"
    for path in tmp_path.iterdir():
        assert path.read_text().split() == ["cpu", "spawn"]
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{path.name}").exists() for path in tmp_path.iterdir()):
        assert time.monotonic() < deadline, "a worker outlives its run"
        time.sleep(0.1)


def test_a_worker_that_dies_ends_the_run_and_is_named(tmp_path):
    with pytest.raises(RuntimeError, match="train batches: the input worker 1 ended"):
        run(Numbered(tmp_path, "die", 6), 2)


@pytest.mark.parametrize(("num_workers", "who"), [(0, "thread"), (2, "worker 1")])
def test_a_worker_that_hangs_ends_the_run_and_is_named(tmp_path, num_workers, who):
    with pytest.raises(RuntimeError, match=f"input {who} gave no batch 6 for 8 s"):
        run(Numbered(tmp_path, "hang", 6), num_workers, stall_seconds=8)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_mistake_is_told_as_it_is(tmp_path, num_workers):
    with pytest.raises(ValueError, match="batch 6 must be sound; mend it"):
        run(Numbered(tmp_path, "fail", 6), num_workers)


def test_an_abandoned_stream_ends_its_workers(tmp_path):
    batches = prefetch_batches(
        Numbered(tmp_path),
        0,
        10**9,
        prefetch=2,
        num_workers=1,
        stall_seconds=60,
        what="train batches",
    )
    next(batches)
    (worker,) = tmp_path.iterdir()
    batches.close()
    deadline = time.monotonic() + 40
    while Path(f"/proc/{worker.name}").exists():
        assert time.monotonic() < deadline, "a worker outlives its stream"
        time.sleep(0.1)
