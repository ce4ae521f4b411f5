"""Engines: what is done is not done again, a dead worker is told, files must be seen."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import pytest
from data.in_workers import Note, end_abruptly, leave_note, refuse

from bert_jax.data.engines import LocalEngine, run_alone, run_stage


@pytest.mark.parametrize("processes", [1, 2])
def test_each_item_is_done_once_and_told(tmp_path, processes):
    (tmp_path / "3").write_text("before")
    told: list[int] = []
    with LocalEngine(processes) as engine:
        run_stage(engine, Note(tmp_path), range(6), told.append)
        pids = {(tmp_path / str(i)).read_text() for i in range(6) if i != 3}
        # The same processes do the next stage.
        (tmp_path / "next").mkdir()
        run_stage(engine, Note(tmp_path / "next"), range(2), lambda _: None)
        again = {(tmp_path / "next" / str(i)).read_text() for i in range(2)}
    assert sorted(told) == list(range(6))
    assert (tmp_path / "3").read_text() == "before"
    assert again <= pids and (str(os.getpid()) in pids) == (processes == 1)


def test_a_worker_that_dies_is_told_and_the_rest_is_kept(tmp_path):
    with (
        LocalEngine(2) as engine,
        pytest.raises(RuntimeError, match=r"ended abruptly .*run the same command again"),
    ):
        run_stage(engine, Note(tmp_path, deadly=5), range(6), lambda _: None)
    with LocalEngine(2) as engine:
        run_stage(engine, Note(tmp_path), range(6), lambda _: None)
    assert {path.name for path in tmp_path.iterdir()} == {str(i) for i in range(6)}


def test_files_that_are_not_to_be_seen_here_are_an_error(tmp_path):
    class Elsewhere:
        def run(self, stage: Any, items: Sequence[Any], done: Any) -> None:
            """A cluster whose workers write to disks of their own."""

    with pytest.raises(RuntimeError, match="a file system that all workers share"):
        run_stage(Elsewhere(), Note(tmp_path), [0], lambda _: None)


def test_a_function_alone_runs_in_another_process_and_tells_its_errors(tmp_path):
    run_alone(leave_note, tmp_path / "note")
    assert int((tmp_path / "note").read_text()) != os.getpid()
    with pytest.raises(ValueError, match="vocab_size must be larger"):
        run_alone(refuse, "vocab_size must be larger")
    with pytest.raises(RuntimeError, match="ended abruptly"):
        run_alone(end_abruptly)
