"""`pytorch_model.bin`: torch's pickles of tensors, read without torch and without pickle.

Both forms are read: the zip of torch 1.6 and later, and the one before (several pickles,
then the values). Source: `torch/serialization.py`, `_load` and `_legacy_load`.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bert_jax.formats.mapped_file import map_file, quoted
from bert_jax.formats.pickle_operations import MAX_PICKLE_BYTES
from bert_jax.formats.shards import is_index, read_sharded
from bert_jax.formats.stored_zip import Entry, check_crc, list_stored
from bert_jax.formats.tensor_pickle import Tensor, read_pickle
from bert_jax.formats.weights import (
    ELEMENT_TYPES,
    ByteOrder,
    StoredArray,
    Weights,
    num_bytes,
    view,
)

_ZIP_MAGIC = b"PK\3\4"
_LEGACY_BEGIN = b"\x80"  # of any pickle of protocol 2 or later
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_BYTE_ORDERS: Mapping[bytes, ByteOrder] = {b"little": "<", b"big": ">"}


class _Place(NamedTuple):
    """Where a storage's values lie in the file, in bytes."""

    start: int
    size: int


def read_torch_pickle(path: Path) -> Weights:
    """Opens a state dict that `torch.save` wrote, or all shards of an index.

    Nothing of the file is run: see `tensor_pickle`. The zip form carries a CRC-32 of each
    tensor, which is checked here; the older form has none.

    Args:
        path: pytorch_model.bin, or a pytorch_model.bin.index.json.

    Returns:
        name → array, views of the file as those of `read_safetensors`.

    Raises:
        ValueError: the file is absent, truncated, corrupt, hostile, or is not a flat dict
            of tensors.
    """
    if is_index(path):
        return read_sharded(path, _read_file)
    return _read_file(path)


def _read_file(path: Path) -> Weights:
    """The tensors of one file."""
    content = map_file(path)
    is_zip = content[: len(_ZIP_MAGIC)] == _ZIP_MAGIC
    return Weights((_read_zip if is_zip else _read_legacy)(path, content), {}, [path])


def _read_zip(path: Path, content: mmap.mmap) -> dict[str, StoredArray]:
    """The tensors of the zip form."""
    entries = list_stored(content, str(path))
    folders = [name.removesuffix("/data.pkl") for name in entries if _is_pickle(name)]
    if len(folders) != 1:
        raise ValueError(f"{path} must be a zip file with one data.pkl, as torch writes it")
    folder = folders[0]
    pickled = _entry_bytes(path, content, entries, f"{folder}/data.pkl")
    tensors = _tensors(path, read_pickle(pickled, f"{path}: data.pkl")[0])
    byte_order: ByteOrder = "<"
    if f"{folder}/byteorder" in entries:
        record = _entry_bytes(path, content, entries, f"{folder}/byteorder")
        if record not in _BYTE_ORDERS:
            raise ValueError(f"{path}: byteorder={record[:20]!r} must be little or big")
        byte_order = _BYTE_ORDERS[record]
    places: dict[str, _Place] = {}
    for tensor in tensors.values():
        key = tensor.storage.key
        if key not in places:
            name = f"{folder}/data/{key}"
            entry = _find(path, entries, name)
            check_crc(content, entry, f"{path}: {quoted(name)}")
            places[key] = _Place(entry.start, entry.size)
    return _arrays(path, content, tensors, places, byte_order)


def _read_legacy(path: Path, content: mmap.mmap) -> dict[str, StoredArray]:
    """The tensors of the form before 1.6, whose values are little-endian always."""
    if content[:1] != _LEGACY_BEGIN:
        raise ValueError(f"{path} must be a file that torch.save wrote; it is none")
    position = 0
    values = []
    for what in ("magic number", "protocol", "system", "state dict", "list of storages"):
        piece = content[position : position + MAX_PICKLE_BYTES]
        value, size = read_pickle(piece, f"{path}: its {what}")
        values.append(value)
        position += size
        if values[0] != _LEGACY_MAGIC:
            raise ValueError(f"{path} must be a file that torch.save wrote; it is none")
    _, protocol, _, state, keys = values
    if protocol != _LEGACY_PROTOCOL or type(keys) is not list:
        raise ValueError(f"{path} must be of torch's protocol {_LEGACY_PROTOCOL}")
    tensors = _tensors(path, state)
    storages = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
    places: dict[str, _Place] = {}
    for key in keys:
        if type(key) is not str or key not in storages or key in places:
            raise ValueError(f"{path} must list each storage of its tensors, once")
        count = int.from_bytes(content[position : position + 8], "little")
        size = count * ELEMENT_TYPES[storages[key].dtype].itemsize
        position += 8
        if position + size > len(content):
            raise ValueError(
                f"{path} is cut short in storage {quoted(key)}; fetch it again"
            )
        places[key] = _Place(position, size)
        position += size
    return _arrays(path, content, tensors, places, "<")


def _is_pickle(name: str) -> bool:
    """Whether an entry is the pickle of the archive: data.pkl in the one top folder."""
    return name.count("/") == 1 and name.endswith("/data.pkl")


def _find(path: Path, entries: Mapping[str, Entry], name: str) -> Entry:
    """An entry of the archive by its name."""
    if name not in entries:
        raise ValueError(f"{path} must hold {quoted(name)}; it is absent, fetch it again")
    return entries[name]


def _entry_bytes(
    path: Path, content: mmap.mmap, entries: Mapping[str, Entry], name: str
) -> bytes:
    """The bytes of a small entry, checked."""
    entry = _find(path, entries, name)
    what = f"{path}: {quoted(name)}"
    if entry.size > MAX_PICKLE_BYTES:
        raise ValueError(f"{what} must have at most {MAX_PICKLE_BYTES} bytes")
    check_crc(content, entry, what)
    return content[entry.start : entry.start + entry.size]


def _tensors(path: Path, state: Any) -> dict[str, Tensor]:
    """A state dict, which is name → tensor and nothing else."""
    if type(state) is not dict:
        raise ValueError(
            f"{path} must hold a state dict, name → tensor; it holds a "
            f"{type(state).__name__}; save model.state_dict()"
        )
    for name, value in state.items():
        if type(name) is not str or type(value) is not Tensor:
            raise ValueError(
                f"{path} must hold tensors only; {quoted(str(name))} is a "
                f"{type(value).__name__}; save model.state_dict()"
            )
    return state


def _arrays(
    path: Path,
    content: mmap.mmap,
    tensors: Mapping[str, Tensor],
    places: Mapping[str, _Place],
    byte_order: ByteOrder,
) -> dict[str, StoredArray]:
    """name → array, once it is sure that each tensor lies inside its storage."""
    arrays: dict[str, StoredArray] = {}
    for name, tensor in tensors.items():
        what = f"{path}: {quoted(name)}"
        storage = tensor.storage
        if storage.key not in places:
            raise ValueError(f"{what} has no values in the file; fetch it again")
        place = places[storage.key]
        if num_bytes((storage.num_elements,), storage.dtype, what) != place.size:
            raise ValueError(f"{what}: its storage must have {place.size} bytes")
        _check_bounds(tensor, what)
        flat = view(
            content,
            (storage.num_elements,),
            storage.dtype,
            offset=place.start,
            byte_order=byte_order,
        ).array
        arrays[name] = StoredArray(_strided(flat, tensor), storage.dtype)
    return arrays


def _strided(flat: np.ndarray, tensor: Tensor) -> np.ndarray:
    """The tensor as a view of its storage; `_check_bounds` has been there."""
    if not math.prod(tensor.shape):
        return np.zeros(tensor.shape, flat.dtype)
    strides = [
        stride * flat.itemsize if size > 1 else 0  # the only one is never stepped over
        for size, stride in zip(tensor.shape, tensor.strides, strict=True)
    ]
    return np.lib.stride_tricks.as_strided(
        flat[tensor.offset :], tensor.shape, strides, writeable=False
    )


def _check_bounds(tensor: Tensor, what: str) -> None:
    """Raises ValueError where a tensor reaches beyond its storage, or repeats its values.

    (A stride of 0 would make any number of elements out of one.)
    """
    count = tensor.storage.num_elements
    num_bytes(tensor.shape, tensor.storage.dtype, what)
    last = tensor.offset + sum(
        (size - 1) * stride
        for size, stride in zip(tensor.shape, tensor.strides, strict=True)
    )
    size = math.prod(tensor.shape)
    is_inside = 0 <= tensor.offset <= count and (not size or last < count)
    if not is_inside or min(tensor.strides, default=0) < 0 or size > count:
        raise ValueError(
            f"{what} must lie inside its storage of {count} elements; it has "
            f"{quoted(f'offset={tensor.offset}, shape={tensor.shape}')} and "
            f"{quoted(f'strides={tensor.strides}')}"
        )
