"""Text files that are never seen half-written."""

from __future__ import annotations

import os
import pathlib


def write_text_atomically(path: pathlib.Path, text: str) -> None:
    """Writes a file beside `path` and renames it: a reader sees the old or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
