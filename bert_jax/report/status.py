"""`status.json` of a workdir: where the run stands, for people and schedulers."""

from __future__ import annotations

import dataclasses
import datetime
import json
import pathlib
from typing import Literal, get_args

from bert_jax.report.atomic_text import write_text_atomically

FILE_NAME = "status.json"
FORMAT_VERSION = 1
State = Literal["preparing", "compiling", "training", "stopped", "failed", "done"]


@dataclasses.dataclass(frozen=True)
class Status:
    """Where a run stands."""

    state: State
    step: int
    num_steps: int
    message: str = ""
    time: str = dataclasses.field(
        default_factory=lambda: datetime.datetime.now(datetime.UTC).isoformat(
            timespec="seconds"
        )
    )

    def __post_init__(self) -> None:
        assert self.state in get_args(State), f"unknown state {self.state!r}"


def write_status(workdir: pathlib.Path, status: Status) -> None:
    """Replaces the workdir's status; a reader never sees half of it."""
    values = {"format_version": FORMAT_VERSION, **dataclasses.asdict(status)}
    write_text_atomically(
        pathlib.Path(workdir) / FILE_NAME, json.dumps(values, indent=2) + "\n"
    )


def read_status(workdir: pathlib.Path) -> Status | None:
    """The workdir's status; None when there is none.

    Raises:
        ValueError: the file is not a status of this version.
    """
    path = pathlib.Path(workdir) / FILE_NAME
    if not path.exists():
        return None
    values = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(values, dict) or "format_version" not in values:
        raise ValueError(f"{path}: not a status file; remove it")
    version = values.pop("format_version")
    if version != FORMAT_VERSION:
        raise ValueError(f"{path}: format_version={version!r} must be {FORMAT_VERSION}")
    return Status(**values)
