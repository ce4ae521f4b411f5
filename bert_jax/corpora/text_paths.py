"""Which files a source means."""

from __future__ import annotations

import glob
import os
from pathlib import Path

GLOB_REMEDY = "give a glob such as '/texts/**/*.txt'"
BOOKS_REMEDY = (
    "give a folder or an archive (.tar.gz, .zip) of .txt books; the BooksCorpus of the "
    "paper is no longer distributed, its open substitute is --config.data.sources=pg19"
)


def find_files(pattern: str, remedy: str = GLOB_REMEDY) -> list[tuple[str, Path]]:
    """(short name, path) of the files that a glob means, by name; a folder means all in it.

    Short names are relative to the folder that all files share, without suffixes unless
    two files would then be called the same. They can be encoded: a byte of a file's name
    that is not UTF-8 is spelled out.

    Raises:
        ValueError: there is none; `remedy` is what to do about it.
    """
    expanded = os.path.expanduser(pattern)
    if os.path.isdir(expanded):
        expanded = os.path.join(glob.escape(expanded), "**", "*")
    found = glob.glob(expanded, recursive=True)
    paths = sorted(Path(path) for path in found if os.path.isfile(path))
    if not paths:
        raise ValueError(f"data.sources: path={pattern!r} matches no file; {remedy}")
    root = os.path.commonpath([path.parent for path in paths])
    full = [spelled_out(path.relative_to(root).as_posix()) for path in paths]
    short = [name.removesuffix("".join(Path(name).suffixes)) for name in full]
    names = full if len(set(short)) < len(short) else short
    return list(zip(names, paths, strict=True))


def find_books(pattern: str) -> list[tuple[str, Path]]:
    """`find_files` for books_corpus: books and archives of books, with their suffixes.

    Raises:
        ValueError: there is none.
    """
    files = find_files(pattern, BOOKS_REMEDY)
    root = os.path.commonpath([path.parent for _, path in files])
    return [(spelled_out(path.relative_to(root).as_posix()), path) for _, path in files]


def spelled_out(name: str) -> str:
    """A file's name with every byte that is not UTF-8 as a backslash and its number."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
