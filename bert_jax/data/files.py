"""Files that are there as a whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np


@contextmanager
def open_atomic(path: Path) -> Iterator[BinaryIO]:
    """A file to write that takes the name `path` when the block ends without an error.

    Several machines may write the same file at once: each has a draft of its own.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        with open(draft, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def save_json(path: Path, values: Any) -> None:
    """Writes plain values as JSON, atomically."""
    with open_atomic(path) as file:
        file.write((json.dumps(values, indent=1, sort_keys=True) + "\n").encode())


def save_array(path: Path, array: np.ndarray) -> None:
    """Writes one array as .npy, atomically."""
    with open_atomic(path) as file:
        np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)


class GrowingArray:
    """A one-dimensional .npy file that is written piece by piece.

    The header is written last, over the one that held its place: NumPy leaves room in it
    for a longer shape. The bytes are those of `save_array`.

    Args:
        file: open for writing, at its start.
        dtype: of the items.
    """

    def __init__(self, file: BinaryIO, dtype: np.dtype):
        self._file = file
        self._dtype = np.dtype(dtype)
        self.size = 0
        self._header_bytes = self._write_header()

    def append(self, items: np.ndarray) -> None:
        """Adds items of the array's type at its end."""
        assert items.dtype == self._dtype and items.ndim == 1
        self._file.write(np.ascontiguousarray(items).data)
        self.size += len(items)

    def finish(self) -> None:
        """Writes the header for what was added."""
        self._file.seek(0)
        assert self._write_header() == self._header_bytes
        self._file.seek(0, os.SEEK_END)

    def _write_header(self) -> int:
        header = {
            "descr": np.lib.format.dtype_to_descr(self._dtype),
            "fortran_order": False,
            "shape": (self.size,),
        }
        np.lib.format.write_array_header_1_0(self._file, header)
        return self._file.tell()


def open_array(path: Path) -> np.ndarray:
    """One .npy file, memory-mapped and read-only; an empty array is simply read."""
    return np.load(path, mmap_mode="r" if array_size(path) else None, allow_pickle=False)


def array_size(path: Path) -> int:
    """Number of items of a .npy file, as its header says.

    Raises:
        ValueError: it has no header, or one that promises more or less than is there.
    """
    with open(path, "rb") as file:
        try:
            version = np.lib.format.read_magic(file)
            reader = (
                np.lib.format.read_array_header_1_0
                if version == (1, 0)
                else np.lib.format.read_array_header_2_0
            )
            shape, _, dtype = reader(file)
        except ValueError as error:
            raise ValueError(f"{path} must be an array of NumPy: {error}") from None
        size = int(np.prod(shape, dtype=np.int64))
        has = os.fstat(file.fileno()).st_size - file.tell()
    if size * dtype.itemsize != has:
        raise ValueError(
            f"{path} must have {size * dtype.itemsize} bytes after its header and has {has}"
        )
    return size


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(values: Any) -> str:
    """16 hex digits that stand for plain values: equal values, equal digits."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
