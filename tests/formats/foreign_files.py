"""Files as others write them, whole or broken on purpose, without their libraries."""

from __future__ import annotations

import json
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bert_jax.formats.sstable import masked_crc32c

# --- torch

TORCH_MAGIC = 0x1950A86A20F9469CFC6C


def text(value: str) -> bytes:
    encoded = value.encode()
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def integer(value: int) -> bytes:
    size = value.bit_length() // 8 + 1
    return b"\x8a" + bytes([size]) + value.to_bytes(size, "little", signed=True)


def integers(values: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(map(integer, values)) + b"t"


def tensor(
    key: str = "0",
    *,
    storage: str = "torch\nFloatStorage",
    count: int = 6,
    offset: int = 0,
    shape: tuple[int, ...] = (2, 3),
    strides: tuple[int, ...] = (3, 1),
    legacy: bool = False,
) -> bytes:
    """The part of a pickle that makes one tensor, as torch writes it."""
    persistent = (
        b"(" + text("storage") + f"c{storage}\n".encode() + text(key) + text("cpu")
    ) + (integer(count) + (b"N" if legacy else b"") + b"tQ")
    arguments = persistent + integer(offset) + integers(shape) + integers(strides)
    hooks = b"\x89ccollections\nOrderedDict\n)R"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + arguments + hooks + b"tR"


def state_dict(items: Mapping[str, bytes]) -> bytes:
    """A pickle of name → value, whose values are parts of pickles."""
    pairs = b"".join(text(name) + value for name, value in items.items())
    metadata = b"}" + text("_metadata") + b"}sb"
    return b"\x80\x02ccollections\nOrderedDict\n)R(" + pairs + b"u" + metadata + b"."


def write_torch_zip(
    path: Path,
    pickled: bytes,
    storages: Mapping[str, bytes],
    *,
    method: int = zipfile.ZIP_STORED,
    extra: Mapping[str, bytes] | None = None,
) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("archive/data.pkl", pickled)
        for key, values in storages.items():
            archive.writestr(f"archive/data/{key}", values)
        for name, values in (extra or {}).items():
            archive.writestr(name, values)
    return path


def write_torch_legacy(path: Path, pickled: bytes, storages: Mapping[str, bytes]) -> Path:
    parts = [
        pickle.dumps(value, 2) for value in (TORCH_MAGIC, 1001, {"little_endian": True})
    ]
    parts += [pickled, pickle.dumps(list(storages), 2)]
    parts += [struct.pack("<q", len(v) // 4) + v for v in storages.values()]
    path.write_bytes(b"".join(parts))
    return path


# --- safetensors


def write_raw_safetensors(
    path: Path, header: Any, values: bytes = b"", *, announced: int | None = None
) -> Path:
    """A file with any header: bytes as they are, else as JSON."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    size = len(text) if announced is None else announced
    path.write_bytes(struct.pack("<Q", size) + text + values)
    return path


def entry(shape: list[int], start: int, end: int, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


# --- TensorFlow


def varint(value: int) -> bytes:
    if value < 0x80:
        return bytes([value])
    return bytes([value & 0x7F | 0x80]) + varint(value >> 7)


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def _block(entries: Mapping[bytes, bytes], compression: int) -> bytes:
    content = b"".join(
        b"\0" + varint(len(key)) + varint(len(value)) + key + value
        for key, value in entries.items()
    )
    body = content + struct.pack("<2I", 0, 1) + bytes([compression])
    return body + struct.pack("<I", masked_crc32c(body, 0, len(body)))


def table(entries: Mapping[bytes, bytes], compression: int = 0) -> bytes:
    """A sorted table of one data block."""
    blocks = [_block(entries, compression), _block({}, 0)]
    handles = [varint(0) + varint(len(blocks[0]) - 5)]
    handles.append(varint(len(blocks[0])) + varint(len(blocks[1]) - 5))
    start = sum(map(len, blocks))
    blocks.append(_block({b"\xff": handles[0]}, 0))
    footer = handles[1] + varint(start) + varint(len(blocks[2]) - 5)
    magic = struct.pack("<Q", 0xDB4775248B80FB57)
    return b"".join(blocks) + footer.ljust(40, b"\0") + magic


def variable(
    data_type: int, shape: tuple[int, ...], offset: int, values: bytes, **changes: Any
) -> bytes:
    """A BundleEntryProto; `changes` are of its size, its shard, or more of its bytes."""
    dims = b"".join(field(2, field(1, size)) for size in shape)
    crc = struct.pack("<I", masked_crc32c(values, 0, len(values)))
    return b"".join(
        (
            field(1, data_type),
            field(2, dims),
            field(3, changes.get("shard", 0)),
            field(4, offset),
            field(5, changes.get("size", len(values))),
            varint(6 << 3 | 5) + crc,
            changes.get("more", b""),
        )
    )


def write_tf1(
    prefix: Path, variables: Mapping[str, bytes], values: bytes, header: bytes | None = None
) -> Path:
    """A checkpoint in one data file."""
    first = field(1, 1) + field(3, field(1, 1)) if header is None else header
    named = {name.encode(): item for name, item in sorted(variables.items())}
    prefix.with_name(f"{prefix.name}.index").write_bytes(table({b"": first, **named}))
    prefix.with_name(f"{prefix.name}.data-00000-of-00001").write_bytes(values)
    return prefix


# --- damage


def flips(content: bytes, num_flips: int, seed: int) -> Iterator[tuple[int, bytes]]:
    """Byte and content with one bit flipped: of every byte, or of that many drawn."""
    rng = np.random.default_rng(seed)
    places = rng.permutation(len(content))[:num_flips]
    for place, bit in zip(places, rng.integers(8, size=len(places)), strict=True):
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(bit)
        yield int(place), bytes(damaged)


def outcome(read: Callable[[], Mapping[str, np.ndarray]]) -> dict[str, np.ndarray] | str:
    """All arrays, or the one line of the ValueError; nothing else is let through."""
    try:
        return {name: np.array(array) for name, array in read().items()}
    except ValueError as error:
        message = str(error)
        assert "\n" not in message and len(message) < 600, message
        return message


def same(left: Mapping[str, np.ndarray], right: Mapping[str, np.ndarray]) -> bool:
    """Whether names, types, shapes and bits are equal."""
    return list(left) == list(right) and all(
        (x.dtype, x.shape, x.tobytes()) == (y.dtype, y.shape, y.tobytes())
        for x, y in zip(left.values(), right.values(), strict=True)
    )


VALUES = np.arange(6, dtype="<f4")
STORAGES = {"0": VALUES.tobytes()}


def write_zip(path: Path, pickled: bytes) -> Path:
    """A zip whose one storage is VALUES."""
    return write_torch_zip(path, pickled, STORAGES)


def write_legacy(path: Path, pickled: bytes) -> Path:
    """The form before 1.6, the same."""
    return write_torch_legacy(path, pickled, STORAGES)


WRITERS = pytest.mark.parametrize("write", [write_zip, write_legacy])
Write = Callable[[Path, bytes], Path]
