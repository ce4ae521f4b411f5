"""Whose a prepared directory is: one configuration's, and while preparing one process's."""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bert_jax.data.files import save_json
from bert_jax.data.manifest import FORMAT_VERSION, upgrade_settings

_OURS = ("begun.json", "work", "shards", "tokenizer", "unigram_counts.npy", "plans")


def begin(directory: Path, settings: dict[str, Any], fingerprints: list[str]) -> None:
    """Marks whose directory this is; clears what was begun otherwise.

    Args:
        directory: empty, or begun before.
        settings: what decides its content.
        fingerprints: of the sources; another corpus, or another version of the format,
            begins anew.

    Raises:
        ValueError: it holds something else, or data of another configuration.
    """
    path = directory / "begun.json"
    begun = {
        "format_version": FORMAT_VERSION,
        "settings": settings,
        "fingerprints": fingerprints,
    }
    if not path.exists():
        others = [
            item.name for item in directory.iterdir() if not item.name.startswith(".")
        ]
        if others:
            raise ValueError(
                f"data.directory={directory} must be empty or hold prepared data, and "
                f"holds {others[0]}; choose another"
            )
    else:
        # Compared as read back, since JSON knows no tuples.
        found = json.loads(path.read_text())
        if found == json.loads(json.dumps(begun)):
            # What a killed process was writing; the lock says that no other is at it.
            for name in ("shards", "work"):
                for draft in (directory / name).glob(".*.tmp"):
                    draft.unlink()
            return
        check_same(directory, upgrade_settings(found["settings"]), settings)
        for name in _OURS:
            if (directory / name).is_dir():
                shutil.rmtree(directory / name)
            else:
                (directory / name).unlink(missing_ok=True)
    save_json(path, begun)


def check_same(directory: Path, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Refuses a directory that was prepared with other settings than are wanted."""
    wanted = json.loads(json.dumps(wanted))
    for key in wanted:
        if found[key] != wanted[key]:
            raise ValueError(
                f"data.directory={directory} must hold data of this configuration; it was "
                f"prepared with {key}={found[key]!r}, which is now {wanted[key]!r}; set "
                "data.directory to another folder or leave it empty"
            )


@contextmanager
def lock(directory: Path) -> Iterator[None]:
    """Lets one process at a time prepare a directory; the others wait, and find it done."""
    with open(directory / ".lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
