"""SHA-256 of files, in the form that the tool `sha256sum` writes and checks."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from bert_jax.formats.mapped_file import map_file, quoted

HASHES_NAME = "SHA256SUMS"

_LINE = re.compile(r"([0-9a-f]{64}) [ *]([^\\\0\n\r]+)")
_MAX_LIST_BYTES = 2**20


def write_hashes(directory: Path, names: Iterable[str]) -> None:
    """Writes DIRECTORY/SHA256SUMS, as a whole or not at all.

    Args:
        directory: where the files lie.
        names: paths of files inside it, with `/`.

    Raises:
        ValueError: a name that leads out of the directory, or none.
    """
    path = directory / HASHES_NAME
    wanted = sorted(set(names))
    if not wanted:
        raise ValueError(f"{path} must list at least one file")
    _write(path, {name: _file_sha256(_inside(directory, name, path)) for name in wanted})


def renew_hashes(directory: Path, names: Iterable[str]) -> None:
    """Lists files that were written anew; where there is no list, there is none after.

    Args:
        directory: where the files lie.
        names: paths of files inside it, with `/`; what else is listed stays so.

    Raises:
        ValueError: as `write_hashes`, or the list is broken.
    """
    path = directory / HASHES_NAME
    if path.exists():
        renewed = {name: _file_sha256(_inside(directory, name, path)) for name in names}
        _write(path, {**_listed(path), **renewed})


def _write(path: Path, listed: Mapping[str, str]) -> None:
    lines = [f"{digest}  {name}\n" for name, digest in sorted(listed.items())]
    for name, line in zip(sorted(listed), lines, strict=True):
        if not _LINE.fullmatch(line.removesuffix("\n")):
            raise ValueError(f"{path} cannot list {quoted(name)}; rename the file")
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with draft.open("w", encoding="utf-8") as file:
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def check_hashes(directory: Path, names: Iterable[str] | None = None) -> bool:
    """Compares files with what DIRECTORY/SHA256SUMS says of them.

    Args:
        directory: where the list lies.
        names: the files to look at, of those that are listed; None for all.

    Returns:
        False where there is no list; else True: every such file is as it was.

    Raises:
        ValueError: a file differs or is absent (the first of them), or the list is broken.
    """
    path = directory / HASHES_NAME
    if not path.exists():
        return False
    listed = _listed(path)
    chosen = listed if names is None else [name for name in names if name in listed]
    for name in chosen:
        file = _inside(directory, name, path)
        if not file.is_file():
            raise ValueError(f"{file} is not there, and {HASHES_NAME} lists it; fetch it")
        found = _file_sha256(file)
        if found != listed[name]:
            raise ValueError(
                f"{file} has SHA-256 {found[:12]}…; it must be {listed[name][:12]}…, as "
                f"{HASHES_NAME} says; it is corrupt, fetch it again (or, if you changed it "
                f"on purpose, take its line out of {HASHES_NAME})"
            )
    return True


def _listed(path: Path) -> dict[str, str]:
    """name → SHA-256 in hex, as a list has them."""
    with map_file(path) as content:
        if len(content) > _MAX_LIST_BYTES:
            raise ValueError(f"{path} must be smaller than {_MAX_LIST_BYTES} bytes")
        text = content[:].decode("utf-8", "replace")
    listed: dict[str, str] = {}
    for number, line in enumerate(text.removesuffix("\n").split("\n"), 1):
        match = _LINE.fullmatch(line)
        if not match or match[2] in listed:
            raise ValueError(
                f"{path}: line {number} must be 64 hex digits, two spaces and the name of "
                f"a file, each once; it is {quoted(line)}"
            )
        listed[match[2]] = match[1]
    return listed


def _inside(directory: Path, name: str, path: Path) -> Path:
    """The file that a list means, which must stand in the directory or below."""
    parts = PurePosixPath(name).parts
    if not parts or parts[0] == "/" or ".." in parts or name == HASHES_NAME:
        raise ValueError(f"{path} must list files beside it; it lists {quoted(name)}")
    return directory.joinpath(*parts)


def _file_sha256(path: Path) -> str:
    """SHA-256 of a file's content, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
