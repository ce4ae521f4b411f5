"""Safetensors files, single or in shards.

The `safetensors` library says whether a file is valid and what is in it, and writes. The
values are not copied out as the library does, but viewed where they lie: a model's own
arrays are the first copy.
"""

from __future__ import annotations

import json
import mmap
import os
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from bert_jax.formats.mapped_file import map_file, quoted
from bert_jax.formats.shards import is_index, read_sharded
from bert_jax.formats.strict_json import parse_object
from bert_jax.formats.weights import StoredArray, Weights, num_bytes, view

# The format's names of element types → ours.
_ELEMENT_TYPES = {
    "BOOL": "bool",
    "I8": "int8",
    "I16": "int16",
    "I32": "int32",
    "I64": "int64",
    "U8": "uint8",
    "U16": "uint16",
    "U32": "uint32",
    "U64": "uint64",
    "F16": "float16",
    "BF16": "bfloat16",
    "F32": "float32",
    "F64": "float64",
}
_PREFIX_BYTES = 8
_MAX_HEADER_BYTES = 16 * 2**20  # BERT-large has 50 thousand; the format allows 100 million


def read_safetensors(path: Path) -> Weights:
    """Opens a file, or all shards of an index; values are read when they are used.

    The format has no checksum of the values: `hashes` finds what has changed there.

    Args:
        path: a .safetensors file, or a model.safetensors.index.json.

    Returns:
        name → array. The arrays are views of the file: copy them before it is rewritten
        in place (a file replaced by a rename does no harm).

    Raises:
        ValueError: the file is absent, truncated, corrupt, hostile, or has an element
            type that NumPy has not.
    """
    if is_index(path):
        return read_sharded(path, _read_file)
    return _read_file(path)


def write_safetensors(
    path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]
) -> None:
    """Writes one file, which appears under its name when it is whole.

    The same arrays and metadata give the same bytes.

    Args:
        path: of the file; its folder is made if absent.
        arrays: name → array; bfloat16 as `ml_dtypes` has it. An array that is not
            contiguous is copied.
        metadata: what the header says besides; `transformers` wants {"format": "pt"}.

    Raises:
        ValueError: a name or an element type that the format has not, or no room.
    """
    if "__metadata__" in arrays:
        raise ValueError(f"{path} must not hold an array named __metadata__; rename it")
    dense = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        draft.touch()
        mode = draft.stat().st_mode  # of any new file; the library's is the owner's alone
        save_file(dense, draft, dict(metadata))
        with draft.open("r+b") as file:
            _sort_metadata(file)
            file.flush()
            os.fsync(file.fileno())
        draft.chmod(mode)
        os.replace(draft, path)
    except SafetensorError as error:
        raise ValueError(f"{path} cannot be written: {quoted(str(error))}") from None
    finally:
        draft.unlink(missing_ok=True)


def _sort_metadata(file: BinaryIO) -> None:
    """Rewrites the header of a file that the library wrote, so that equal is equal bytes.

    The library keeps metadata in a hash table whose order each process draws anew.
    """
    size = int.from_bytes(file.read(_PREFIX_BYTES), "little")
    header = json.loads(file.read(size))
    if "__metadata__" not in header:
        return
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    assert len(text) <= size, "the same entries in another order"
    file.seek(_PREFIX_BYTES)
    file.write(text.ljust(size))


def _read_file(path: Path) -> Weights:
    """The arrays of one file, in the order in which they lie there."""
    content = map_file(path)
    offset = _PREFIX_BYTES + _check_header(path, content)
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            slices = {name: file.get_slice(name) for name in file.offset_keys()}
            entries = {
                name: (tuple(item.get_shape()), item.get_dtype())
                for name, item in slices.items()
            }
    except SafetensorError as error:
        raise ValueError(
            f"{path} must be a whole safetensors file; the library says "
            f"{quoted(str(error))}; fetch it again"
        ) from None
    stored: dict[str, StoredArray] = {}
    for name, (shape, type_name) in entries.items():
        what = f"{path}: {quoted(name)}"
        if type_name not in _ELEMENT_TYPES:
            raise ValueError(
                f"{what} has dtype={quoted(type_name)}; it must be one of "
                f"{', '.join(_ELEMENT_TYPES)}"
            )
        dtype = _ELEMENT_TYPES[type_name]
        size = num_bytes(shape, dtype, what)
        stored[name] = view(content, shape, dtype, offset=offset, byte_order="<")
        offset += size  # the format leaves no room between arrays; the library checked
    if offset != len(content):
        raise ValueError(f"{path} must not change while it is read; read it again")
    return Weights(stored, metadata, [path])


def _check_header(path: Path, content: mmap.mmap) -> int:
    """The header's size in bytes; refuses what the library lets pass or reads at length."""
    header_bytes = int.from_bytes(content[:_PREFIX_BYTES], "little")
    if len(content) < _PREFIX_BYTES + header_bytes or header_bytes > _MAX_HEADER_BYTES:
        raise ValueError(
            f"{path} must be a whole safetensors file with a header of at most "
            f"{_MAX_HEADER_BYTES} bytes; it has {len(content)} bytes in all and announces "
            f"{header_bytes} of header; fetch it again"
        )
    header = content[_PREFIX_BYTES : _PREFIX_BYTES + header_bytes]
    parse_object(header, f"{path}: the header")
    return header_bytes
