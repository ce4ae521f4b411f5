"""Files that are there as a whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np


@contextmanager
def open_atomic(path: Path) -> Iterator[BinaryIO]:
    """A file to write that takes the name `path` when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
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


def open_array(path: Path) -> np.ndarray:
    """One .npy file, memory-mapped and read-only; an empty array is simply read."""
    with open(path, "rb") as file:
        version = np.lib.format.read_magic(file)
        reader = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, _, _ = reader(file)
    return np.load(path, mmap_mode="r" if all(shape) else None, allow_pickle=False)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(values: Any) -> str:
    """16 hex digits that stand for plain values: equal values, equal digits."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
