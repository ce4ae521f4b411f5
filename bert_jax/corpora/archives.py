"""Members of tar and zip archives, one after the other; nothing is written to disk."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from bert_jax.corpora.text_lines import DAMAGE, decompressed
from bert_jax.corpora.text_paths import spelled_out

_TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.zst", ".tar.bz2", ".tar.xz")
_DRIVE = re.compile(r"[A-Za-z]:[/\\]")
_LINK = "a link, which may lead anywhere; pack the files themselves (tar --dereference)"
_OUTSIDE = "a name that leads out of the archive; pack the folder anew, from within"


@dataclasses.dataclass(frozen=True)
class Member:
    """One file of an archive; `stream` can be read until the next member is asked for."""

    name: str
    stream: IO[bytes]


def is_archive(path: Path) -> bool:
    """Whether a file is an archive, by its name."""
    return path.name.lower().endswith((*_TAR_SUFFIXES, ".zip"))


def read_members(path: Path, packed: IO[bytes]) -> Iterator[Member]:
    """The files of an archive in the order they are in, hidden ones left out.

    Args:
        path: tells by its suffixes what it is, and names it in errors: .tar, also
            compressed, or .zip.
        packed: the file, open.

    Raises:
        ValueError: it is damaged or cut off, or has a link, an absolute name, or a name
            that leads out of it.
    """
    zipped = path.name.lower().endswith(".zip")
    members = _zip_members(path, packed) if zipped else _tar_members(path, packed)
    try:
        for member in members:
            parts = PurePosixPath(member.name).parts
            if not any(part.startswith(".") or part == "__MACOSX" for part in parts):
                yield member
    except DAMAGE as error:
        raise ValueError(
            f"{path} cannot be read to its end ({error}); it is damaged or not what its "
            "suffix says"
        ) from None


def _tar_members(path: Path, packed: IO[bytes]) -> Iterator[Member]:
    content = decompressed(packed, path.suffix)
    if content is packed:
        _check_is_whole(path, packed)
    with tarfile.open(fileobj=content, mode="r|") as archive:
        for entry in archive:
            # What was read before would be kept in memory, name by name.
            archive.members.clear()  # type: ignore[attr-defined]
            if entry.isdir():
                continue
            stream = archive.extractfile(entry) if entry.isreg() else None
            if stream is None:
                raise ValueError(f"{path}: {entry.name!r} must be a file and is {_LINK}")
            yield Member(_inside(path, entry.name), stream)


def _check_is_whole(path: Path, packed: IO[bytes]) -> None:
    """A tar archive ends in zeros; one that is cut between two members does not."""
    size = packed.seek(0, 2)
    packed.seek(max(0, size - tarfile.BLOCKSIZE))
    end = packed.read()
    packed.seek(0)
    if not end or any(end):
        raise ValueError(f"{path} is cut off: the end mark of a tar archive is missing")


def _zip_members(path: Path, packed: IO[bytes]) -> Iterator[Member]:
    with zipfile.ZipFile(packed) as archive:
        for entry in archive.infolist():
            if entry.is_dir():
                continue
            if stat.S_ISLNK(entry.external_attr >> 16):
                raise ValueError(
                    f"{path}: {entry.filename!r} must be a file and is {_LINK}"
                )
            name = _inside(path, entry.filename)
            if entry.flag_bits & 1:
                raise ValueError(f"{path}: {name!r} is encrypted; pack it without password")
            with contextlib.closing(archive.open(entry)) as stream:
                yield Member(name, stream)


def _inside(path: Path, name: str) -> str:
    """The name of a member, in which nothing leads out of the archive."""
    plain = PurePosixPath(name.replace("\\", "/"))
    if plain.is_absolute() or ".." in plain.parts or _DRIVE.match(name):
        raise ValueError(f"{path}: {name!r} has {_OUTSIDE}")
    return spelled_out(plain.as_posix())
