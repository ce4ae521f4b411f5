"""status.json is replaced as a whole."""

from __future__ import annotations

import json
import pathlib

import pytest

from bert_jax.report.atomic_text import write_text_atomically
from bert_jax.report.status import FILE_NAME, Status, read_status, write_status


def test_round_trip(tmp_path: pathlib.Path) -> None:
    assert read_status(tmp_path / "run") is None
    write_status(tmp_path / "run", Status("training", 10, 100, message="fine"))
    status = read_status(tmp_path / "run")
    assert status is not None
    assert (status.state, status.step, status.num_steps) == ("training", 10, 100)
    assert status.message == "fine"
    assert status.time.endswith("+00:00")
    write_status(tmp_path / "run", Status("done", 100, 100))
    assert [path.name for path in (tmp_path / "run").iterdir()] == [FILE_NAME]


def test_unknown_version_is_refused(tmp_path: pathlib.Path) -> None:
    write_status(tmp_path, Status("done", 1, 1))
    values = json.loads((tmp_path / FILE_NAME).read_text())
    (tmp_path / FILE_NAME).write_text(json.dumps({**values, "format_version": 9}))
    with pytest.raises(ValueError, match="format_version=9 must be 1"):
        read_status(tmp_path)


def test_unknown_state_is_our_mistake() -> None:
    with pytest.raises(AssertionError, match="unknown state"):
        Status("dancing", 1, 1)  # type: ignore[arg-type]


def test_a_failed_write_leaves_the_old_text(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.txt"
    write_text_atomically(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_text_atomically(path, "new \ud800")
    assert path.read_text() == "old"
