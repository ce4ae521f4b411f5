"""metrics.jsonl: each (step, split) once, whatever happened before."""

from __future__ import annotations

import json
import pathlib

import numpy as np
import pytest

from bert_jax.report.metrics_file import FILE_NAME, MetricsWriter, read_metrics


def steps(workdir: pathlib.Path) -> list[tuple[int, str]]:
    rows = [json.loads(line) for line in (workdir / FILE_NAME).read_text().splitlines()]
    return [(row["step"], row["split"] if "split" in row else "train") for row in rows]


def write(workdir: pathlib.Path, *numbers: int, resume_from: int | None = None) -> None:
    writer = MetricsWriter(workdir)
    if resume_from is not None:
        writer.truncate_after(resume_from)
    for step in numbers:
        writer.append({"step": step, "loss": float(step)})
    writer.close()


def test_rows_are_there_at_once(tmp_path: pathlib.Path) -> None:
    writer = MetricsWriter(tmp_path / "run")
    writer.append({"step": 10, "loss": 2.5})
    writer.append({"step": 10, "split": "eval", "loss": 3.5})
    assert steps(tmp_path / "run") == [(10, "train"), (10, "eval")]  # not closed yet
    writer.close()


def test_resume_drops_what_comes_after(tmp_path: pathlib.Path) -> None:
    write(tmp_path, 10, 20, 30, 40)
    write(tmp_path, 30, 40, 50, resume_from=20)
    assert [step for step, _ in steps(tmp_path)] == [10, 20, 30, 40, 50]


def test_from_the_start(tmp_path: pathlib.Path) -> None:
    write(tmp_path, 10, 20)
    write(tmp_path, 10, resume_from=0)
    assert steps(tmp_path) == [(10, "train")]


def test_a_row_stands_once(tmp_path: pathlib.Path) -> None:
    write(tmp_path, 10, 20)
    write(tmp_path, 20, 30)
    assert [step for step, _ in steps(tmp_path)] == [10, 20, 30]


@pytest.mark.parametrize(
    "torn", ['{"step": 30, "lo', '{"step": 30, "loss": 1.0}', "\x00\x00"]
)
def test_torn_last_line(tmp_path: pathlib.Path, torn: str) -> None:
    """A line without its end is not a row, even where what is there can be read."""
    write(tmp_path, 10, 20)
    with (tmp_path / FILE_NAME).open("a") as file:
        file.write(torn)
    assert [row["step"] for row in read_metrics(tmp_path)] == [10, 20]
    write(tmp_path, 30, resume_from=20)
    assert [step for step, _ in steps(tmp_path)] == [10, 20, 30]


def test_a_broken_line_inside_is_told(tmp_path: pathlib.Path) -> None:
    (tmp_path / FILE_NAME).write_text('{"step": 1}\nnonsense\n{"step": 2}\n')
    with pytest.raises(ValueError, match=rf"{FILE_NAME}:2: not a row"):
        MetricsWriter(tmp_path)


def test_values_are_json(tmp_path: pathlib.Path) -> None:
    writer = MetricsWriter(tmp_path)
    writer.append(
        {"step": np.int32(1), "loss": np.float32(0.5), "bad": float("nan"), "h": "ab"}
    )
    writer.close()
    (row,) = read_metrics(tmp_path)
    assert row == {"step": 1, "loss": 0.5, "bad": None, "h": "ab"}


def test_no_file_no_rows(tmp_path: pathlib.Path) -> None:
    assert read_metrics(tmp_path) == []
