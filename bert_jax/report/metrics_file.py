"""`metrics.jsonl` of a workdir: one JSON object for each logged step."""

from __future__ import annotations

import json
import math
import pathlib
from collections.abc import Mapping
from typing import Any

from bert_jax.report.atomic_text import write_text_atomically

FILE_NAME = "metrics.jsonl"


def read_metrics(workdir: pathlib.Path) -> list[dict[str, Any]]:
    """The rows of a workdir's metrics file, oldest first; none when there is no file.

    A last line that a killed process left torn is not a row.

    Raises:
        ValueError: another line than the last is not a row.
    """
    path = pathlib.Path(workdir) / FILE_NAME
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")
    rows = []
    for number, line in enumerate(lines[:-1], start=1):
        row = _row_or_none(line)
        if row is None and number < len(lines) - 1:
            raise ValueError(
                f"{path}:{number}: not a row of metrics; mend or remove the line"
            )
        if row is not None:
            rows.append(row)
    return rows


class MetricsWriter:
    """Appends rows to `metrics.jsonl`; each (step, split) stands there once.

    A row names its `step`; `split` is "train" where the row has none. Numbers that are
    not finite are written as null, as JSON has no others.
    """

    def __init__(self, workdir: pathlib.Path):
        self._path = pathlib.Path(workdir) / FILE_NAME
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._rows_from_file()
        self._file = self._path.open("ab")

    def truncate_after(self, step: int) -> None:
        """Drops the rows after `step`, the step that a run goes on from."""
        self._file.close()
        self._rows_from_file(last_step=step)
        self._file = self._path.open("ab")

    def append(self, row: Mapping[str, Any]) -> None:
        """Writes one row. A (step, split) that is there already stays as it is."""
        key = _key(row)
        if key in self._keys:
            return
        self._keys.add(key)
        plain = {name: _json_value(value) for name, value in row.items()}
        self._file.write(json.dumps(plain, allow_nan=False).encode() + b"\n")
        self._file.flush()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _rows_from_file(self, last_step: int | None = None) -> None:
        """Reads the keys that are there; rewrites the file if anything must go."""
        rows = read_metrics(self._path.parent)
        kept = [row for row in rows if last_step is None or row["step"] <= last_step]
        text = "".join(json.dumps(row) + "\n" for row in kept)
        if self._path.exists() and self._path.read_bytes() != text.encode():
            write_text_atomically(self._path, text)
        self._keys = {_key(row) for row in kept}


def split_of(row: Mapping[str, Any]) -> str:
    """The split that a row is about; training for a row that names none."""
    return str(row["split"]) if "split" in row else "train"


def _key(row: Mapping[str, Any]) -> tuple[int, str]:
    return int(row["step"]), split_of(row)


def _json_value(value: Any) -> Any:
    """Numbers of numpy and JAX as plain ones."""
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _row_or_none(line: bytes) -> dict[str, Any] | None:
    """The row that a line holds, or None for anything else."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and isinstance(row.get("step"), int) else None
