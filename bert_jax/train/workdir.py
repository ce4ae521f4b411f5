"""The folder of a run: its resolved configuration and its tokenizer."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bert_jax.config import Config
from bert_jax.report.atomic_text import write_text_atomically
from bert_jax.train.adoption import keep_adopted
from bert_jax.train.checkpoint import CHECKPOINTS

CONFIG_FILE = "config.json"
TOKENIZER = "tokenizer"
_LOCK = ".lock"

# Fields that may change between two starts of the same run; all others decide results.
_MAY_CHANGE = (
    "train.num_steps",
    "train.log_every_steps",
    "train.eval_every_steps",
    "train.eval_batches",
    "train.save_every_steps",
    "train.keep_checkpoints",
    "mesh.",
    "data.directory",
    "data.num_workers",
    "data.stall_seconds",
)


def is_workdir(path: Path) -> bool:
    """Whether a folder is a run's and has a checkpoint folder."""
    return (path / CONFIG_FILE).is_file() and (path / CHECKPOINTS).is_dir()


def load_config_of(workdir: Path) -> Config:
    """The configuration that a run was started with.

    Raises:
        ValueError: the folder is not a run's.
    """
    path = workdir / CONFIG_FILE
    if not path.is_file():
        raise ValueError(
            f"workdir={workdir} must be the folder of a run ({path} is missing)"
        )
    return Config.from_json(path.read_text(encoding="utf-8"))


@contextlib.contextmanager
def own_workdir(workdir: Path) -> Iterator[None]:
    """Makes the folder and keeps every other process from training in it meanwhile.

    Raises:
        ValueError: another process does, or the folder cannot be written.
    """
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        file = open(workdir / _LOCK, "a+")  # noqa: SIM115
    except OSError as error:
        raise _not_writable(workdir, error) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            raise ValueError(
                f"workdir={workdir} is in use by {file.read() or 'another process'}; wait "
                "for it, or use a new workdir"
            ) from None
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield


def _not_writable(workdir: Path, error: OSError) -> ValueError:
    return ValueError(
        f"workdir={workdir} must be a folder that can be written: {error.strerror}"
    )


def save_config(workdir: Path, config: Config) -> None:
    """Makes the folder and writes the configuration, in place of one that is there.

    To be called when nothing speaks against the run any more: a folder that has a
    checkpoint belongs to its configuration (see `check_workdir`).

    Raises:
        ValueError: the folder cannot be written.
    """
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        write_text_atomically(workdir / CONFIG_FILE, config.to_json())
    except OSError as error:
        raise _not_writable(workdir, error) from None


def check_workdir(workdir: Path, config: Config) -> Config:
    """Checks that the run in a folder is of this configuration; writes nothing.

    Returns:
        The given configuration, with the run's own data directory where it names none.

    Raises:
        ValueError: the folder has a run of another configuration, or none.
    """
    before = load_config_of(workdir)
    config = keep_adopted(config, before)
    if not config.data.directory:
        config = with_data_directory(config, Path(before.data.directory))
    old, new = _flat(before.to_dict()), _flat(config.to_dict())
    changed = [
        f"{key}={json.dumps(new[key])} must be {json.dumps(old[key])}"
        for key in new
        if new[key] != old[key] and not key.startswith(_MAY_CHANGE)
    ]
    if changed:
        raise ValueError(
            f"workdir={workdir} has a run of another configuration: {'; '.join(changed)}; "
            "use a new workdir"
        )
    return config


def with_data_directory(config: Config, directory: Path) -> Config:
    """The configuration with its data directory resolved."""
    data = dataclasses.replace(config.data, directory=str(directory))
    return dataclasses.replace(config, data=data)


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
