"""Which files a glob means."""

from __future__ import annotations

import glob
import os
from pathlib import Path


def find_files(pattern: str) -> list[tuple[str, Path]]:
    """(short name, path) of the files that a glob means, by name; a folder means all in it.

    Short names are relative to the folder that all files share, without suffixes unless
    two files would then be called the same.

    Raises:
        ValueError: there is none.
    """
    expanded = os.path.expanduser(pattern)
    if os.path.isdir(expanded):
        expanded = os.path.join(glob.escape(expanded), "**", "*")
    found = glob.glob(expanded, recursive=True)
    paths = sorted(Path(path) for path in found if os.path.isfile(path))
    if not paths:
        raise ValueError(
            f"data.sources: path={pattern!r} matches no file; give a glob such as "
            "'/texts/**/*.txt'"
        )
    root = os.path.commonpath([path.parent for path in paths])
    full = [path.relative_to(root).as_posix() for path in paths]
    short = [name.removesuffix("".join(Path(name).suffixes)) for name in full]
    names = full if len(set(short)) < len(short) else short
    return list(zip(names, paths, strict=True))
