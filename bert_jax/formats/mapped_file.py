"""Files of strangers, mapped into memory, and their words on one line of an error."""

from __future__ import annotations

import mmap
from pathlib import Path

_LONGEST_QUOTE = 120


def map_file(path: Path) -> mmap.mmap:
    """A file's content, read-only: pages come from the file when they are touched.

    Args:
        path: a regular file; links to one are followed.

    Raises:
        ValueError: it is absent, empty, or no regular file (a pipe or device never ends).
    """
    if not path.is_file():
        state = "is not a regular file" if path.exists() else "is not there"
        raise ValueError(f"{path} must be a file of weights; it {state}")
    with path.open("rb") as file:
        if file.seek(0, 2) == 0:
            raise ValueError(f"{path} must be a file of weights; it is empty")
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def quoted(text: str) -> str:
    """A name or a message from a file, fit for one line: ASCII, escaped, cut if long."""
    shown = ascii(text)
    if len(shown) <= _LONGEST_QUOTE:
        return shown
    return f"{shown[:_LONGEST_QUOTE]}…"
