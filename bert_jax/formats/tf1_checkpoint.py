"""TensorFlow checkpoints of version 2 (`PREFIX.index`, `PREFIX.data-*`), as numpy arrays.

These are the files that Google's 2018 BERTs are published in (`bert_model.ckpt`). The index
is a sorted table of protocol buffers; the values lie one after another in the data files,
each with a CRC-32C. Source: tensorflow/core/util/tensor_bundle and
tensorflow/core/protobuf/tensor_bundle.proto.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from bert_jax.formats.mapped_file import map_file, quoted
from bert_jax.formats.sstable import (
    MAX_TABLE_BYTES,
    masked_crc32c,
    read_table,
    read_varint,
)
from bert_jax.formats.weights import (
    ELEMENT_TYPES,
    ByteOrder,
    StoredArray,
    Weights,
    num_bytes,
    view,
)

# DataType of tensorflow/core/framework/types.proto → name.
_DATA_TYPES = {
    1: "float32",
    2: "float64",
    3: "int32",
    4: "uint8",
    5: "int16",
    6: "int8",
    7: "string",
    8: "complex64",
    9: "int64",
    10: "bool",
    14: "bfloat16",
    17: "uint16",
    18: "complex128",
    19: "float16",
    20: "resource",
    21: "variant",
    22: "uint32",
    23: "uint64",
}
_READER_VERSION = 1
_BYTE_ORDERS: tuple[ByteOrder, ...] = ("<", ">")


class _Header(NamedTuple):
    """What the index says of the whole checkpoint."""

    num_shards: int
    byte_order: ByteOrder


class _Variable(NamedTuple):
    """What the index says of one variable; offset and size in bytes."""

    dtype: str
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    crc: int
    is_partitioned: bool


def list_tf1_variables(prefix: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """The variables of a checkpoint, from its index alone.

    Args:
        prefix: the path without `.index`.

    Returns:
        name → (dtype, shape), sorted by name; dtype as NumPy names it, where it can.

    Raises:
        ValueError: the index is absent, corrupt in any bit, or of another version.
    """
    _, variables = _read_index(prefix)
    return {name: (item.dtype, item.shape) for name, item in variables.items()}


def read_tf1_checkpoint(
    prefix: Path, select: Callable[[str], bool] | None = None
) -> Weights:
    """Opens the variables of a checkpoint that are asked for, and checks all CRCs.

    A flipped bit anywhere in the index or in a number of the data files raises, whether
    its variable is asked for or not.

    Args:
        prefix: the path without `.index`.
        select: whether the variable of a name is wanted; None for all.

    Returns:
        name → array, views of the files as those of `read_safetensors`.

    Raises:
        ValueError: a file is absent, truncated or corrupt, or a wanted variable is
            partitioned or not numeric.
    """
    header, variables = _read_index(prefix)
    contents: dict[int, tuple[Path, mmap.mmap]] = {}
    stored: dict[str, StoredArray] = {}
    for name, variable in variables.items():
        is_wanted = select is None or select(name)
        can_be_read = variable.dtype in ELEMENT_TYPES and not variable.is_partitioned
        if is_wanted or can_be_read:
            if variable.shard not in contents:
                path = _data_path(prefix, variable.shard, header.num_shards)
                contents[variable.shard] = path, map_file(path)
            path, content = contents[variable.shard]
            array = _stored(path, content, name, variable, header.byte_order)
            if is_wanted:
                stored[name] = array
    files = [_index_path(prefix), *(path for path, _ in contents.values())]
    return Weights(stored, {}, files)


def _index_path(prefix: Path) -> Path:
    return prefix.with_name(f"{prefix.name}.index")


def _data_path(prefix: Path, shard: int, num_shards: int) -> Path:
    return prefix.with_name(f"{prefix.name}.data-{shard:05d}-of-{num_shards:05d}")


def _stored(
    path: Path, content: mmap.mmap, name: str, variable: _Variable, byte_order: ByteOrder
) -> StoredArray:
    """One variable, once all that the index says of it is found to be so."""
    what = f"{path}: {quoted(name)}"
    if variable.is_partitioned:
        raise ValueError(
            f"{what} is partitioned into slices, which is not read; save it in one piece"
        )
    if variable.dtype not in ELEMENT_TYPES:
        raise ValueError(
            f"{what} has dtype={variable.dtype}; it must be one of "
            f"{', '.join(ELEMENT_TYPES)}"
        )
    if num_bytes(variable.shape, variable.dtype, what) != variable.size:
        raise ValueError(f"{what} must have the {variable.size} bytes of the index")
    if variable.offset + variable.size > len(content):
        raise ValueError(f"{what} lies beyond the end of the file; fetch it again")
    if masked_crc32c(content, variable.offset, variable.size) != variable.crc:
        raise ValueError(
            f"{what} has another CRC-32C than the index says; it is corrupt, fetch it again"
        )
    return view(
        content,
        variable.shape,
        variable.dtype,
        offset=variable.offset,
        byte_order=byte_order,
    )


def _read_index(prefix: Path) -> tuple[_Header, dict[str, _Variable]]:
    """The header, and name → variable, of an index."""
    path = _index_path(prefix)
    with map_file(path) as content:
        table = read_table(content[: MAX_TABLE_BYTES + 1], str(path))
    if b"" not in table:
        raise ValueError(f"{path} must have a header, as TensorFlow writes it")
    try:
        header = _header(table.pop(b""))
        variables = {
            key.decode("utf-8"): _variable(value, header.num_shards)
            for key, value in table.items()
            if key[0]  # the slices of partitioned variables begin with a zero
        }
    except ValueError as error:
        raise ValueError(f"{path} is not TensorFlow's index: {error}") from None
    return header, variables


def _header(message: bytes) -> _Header:
    """BundleHeaderProto."""
    num_shards, byte_order, oldest_reader = 0, 0, 0
    for field, value in _fields(message):
        match field, value:
            case 1, int():
                num_shards = value
            case 2, int():
                byte_order = value
            case 3, bytes():
                versions = dict(_fields(value))
                oldest_reader = _integer(versions[2]) if 2 in versions else 0
    if byte_order >= len(_BYTE_ORDERS) or oldest_reader > _READER_VERSION:
        raise ValueError(
            f"byte order {byte_order}, for readers of {oldest_reader} or later"
        )
    return _Header(num_shards, _BYTE_ORDERS[byte_order])


def _variable(message: bytes, num_shards: int) -> _Variable:
    """BundleEntryProto; fields that are absent are 0, as always with protocol buffers."""
    numbers = dict.fromkeys((1, 3, 4, 5, 6), 0)
    shape: tuple[int, ...] = ()
    is_partitioned = False
    for field, value in _fields(message):
        if field in numbers:
            numbers[field] = _integer(value)
        elif field == 2 and isinstance(value, bytes):
            shape = _shape(value)
        elif field == 7:
            is_partitioned = True
    data_type, shard, offset, size, crc = numbers.values()
    if shard >= max(num_shards, 1):
        raise ValueError(f"shard {shard} of {num_shards}")
    name = _DATA_TYPES[data_type] if data_type in _DATA_TYPES else f"number {data_type}"
    return _Variable(name, shape, shard, offset, size, crc, is_partitioned)


def _shape(message: bytes) -> tuple[int, ...]:
    """TensorShapeProto; a size that is absent is 0."""
    sizes = []
    for field, value in _fields(message):
        if field != 2 or not isinstance(value, bytes):
            raise ValueError("a shape is not known")
        dim = dict(_fields(value))
        sizes.append(_integer(dim[1]) if 1 in dim else 0)
    return tuple(sizes)


def _integer(value: int | bytes) -> int:
    """An integer field, which is never negative here."""
    if isinstance(value, bytes) or value >= 2**63:
        raise ValueError("a number is negative, or is none")
    return value


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a protocol buffer: number and value, in the order written."""
    position = 0
    while position < len(message):
        tag, position = read_varint(message, position)
        kind = tag & 7
        if kind == 0:
            value, position = read_varint(message, position)
            yield tag >> 3, value
            continue
        if kind == 2:
            size, position = read_varint(message, position)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError(f"a field of kind {kind}")
        content = message[position : position + size]
        if len(content) < size:
            raise ValueError("a field is cut short")
        position += size
        yield tag >> 3, content if kind == 2 else int.from_bytes(content, "little")
