"""Sorted string tables, as LevelDB and TensorFlow write them: key → value, with CRCs.

A table is a row of blocks (data, then one of metadata, then one of index) and a footer.
Each block is followed by its compression and a masked CRC-32C; the footer has none. So
that no bit goes unchecked, the blocks must lie without a gap, and the footer must be the
one that a writer would have made. Source: leveldb, doc/table_format.md.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

import google_crc32c

MAX_TABLE_BYTES = 16 * 2**20  # that of BERT-large has 20 thousand

_MAGIC = struct.pack("<Q", 0xDB4775248B80FB57)
_FOOTER_BYTES = 48
_TRAILER_BYTES = 5
_MAX_KEY_BYTES = 1024
_MAX_ENTRIES = 100_000
_PIECE_BYTES = 2**20


class _Handle(NamedTuple):
    """Where a block lies, without its trailer."""

    offset: int
    size: int


def masked_crc32c(content: object, start: int, size: int) -> int:
    """The CRC-32C of a part of bytes or of a mapped file, masked as LevelDB stores it."""
    crc = 0
    for begin in range(start, start + size, _PIECE_BYTES):
        piece = content[begin : min(begin + _PIECE_BYTES, start + size)]  # type: ignore[index]
        crc = google_crc32c.extend(crc, piece)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def read_varint(content: bytes, position: int) -> tuple[int, int]:
    """An integer of 7 bits a byte, and the position behind it.

    Raises:
        ValueError: it does not end, or is longer than 64 bits.
    """
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(content):
            raise ValueError("an integer is cut short")
        byte = content[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >= 2**64:
                break
            return value, position
    raise ValueError("an integer is too long")


def read_table(table: bytes, what: str) -> dict[bytes, bytes]:
    """All keys and values, in the order of the keys.

    Args:
        table: the content of the file.
        what: how an error names it.

    Raises:
        ValueError: any bit of it is not as it was written.
    """
    try:
        return _entries(table)
    except ValueError as error:
        raise ValueError(f"{what} cannot be read: {error}") from None


def _entries(table: bytes) -> dict[bytes, bytes]:
    """What `read_table` returns; its errors do not name the file."""
    metadata, index = _footer(table)
    entries: dict[bytes, bytes] = {}
    last = b""
    position = 0
    for separator, value in _block(table, index):
        handle, end = _handle(value, 0)
        if end != len(value) or handle.offset != position:
            raise ValueError("its blocks do not follow one another")
        for key, item in _block(table, handle):
            if (entries and key <= last) or len(entries) >= _MAX_ENTRIES:
                raise ValueError("its keys are not sorted, or are too many")
            entries[key] = item
            last = key
        if last > separator:
            raise ValueError("its index does not fit its blocks")
        position += handle.size + _TRAILER_BYTES
    for _ in _block(table, metadata):  # nothing in it is of use, but its CRC is checked
        pass
    ends = [
        metadata.offset + metadata.size + _TRAILER_BYTES,
        index.offset + index.size + _TRAILER_BYTES + _FOOTER_BYTES,
    ]
    if [position, *ends] != [metadata.offset, index.offset, len(table)]:
        raise ValueError("its blocks do not fill it")
    return entries


def _footer(table: bytes) -> tuple[_Handle, _Handle]:
    """Where the blocks of metadata and of index lie."""
    footer = table[-_FOOTER_BYTES:]
    if len(table) < _FOOTER_BYTES or len(table) > MAX_TABLE_BYTES:
        raise ValueError(f"it has {len(table)} bytes, an impossible number")
    if footer[-len(_MAGIC) :] != _MAGIC:
        raise ValueError("it does not end as a table does")
    metadata, end = _handle(footer, 0)
    index, end = _handle(footer, end)
    numbers = b"".join(_varint(number) for number in (*metadata, *index))
    if footer != numbers.ljust(_FOOTER_BYTES - len(_MAGIC), b"\0") + _MAGIC:
        raise ValueError("its footer is not as a writer makes it")
    return metadata, index


def _handle(content: bytes, position: int) -> tuple[_Handle, int]:
    """A block's place, and the position behind it."""
    offset, position = read_varint(content, position)
    size, position = read_varint(content, position)
    return _Handle(offset, size), position


def _varint(value: int) -> bytes:
    """The shortest form of an integer: what `read_varint` reads."""
    parts = []
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def _block(table: bytes, handle: _Handle) -> Iterator[tuple[bytes, bytes]]:
    """The keys and values of a block, its CRC checked first."""
    end = handle.offset + handle.size
    if end + _TRAILER_BYTES + _FOOTER_BYTES > len(table):
        raise ValueError("a block lies outside of it")
    (crc,) = struct.unpack_from("<I", table, end + 1)
    if masked_crc32c(table, handle.offset, handle.size + 1) != crc:
        raise ValueError(
            f"the block at byte {handle.offset} has another CRC-32C; fetch it again"
        )
    if table[end]:
        raise ValueError(f"its blocks are compressed (kind {table[end]}); save it without")
    block = table[handle.offset : end]
    if len(block) < 4:
        raise ValueError("a block has no end")
    (num_restarts,) = struct.unpack_from("<I", block, len(block) - 4)
    end = len(block) - 4 - 4 * num_restarts
    position, key = 0, b""
    while position < end:
        shared, position = read_varint(block, position)
        unshared, position = read_varint(block, position)
        size, position = read_varint(block, position)
        value_start = position + unshared
        if shared > len(key) or value_start + size > end:
            raise ValueError("an entry is longer than its block")
        if shared + unshared > _MAX_KEY_BYTES:
            raise ValueError(f"a key is longer than {_MAX_KEY_BYTES} bytes")
        key = key[:shared] + block[position:value_start]
        position = value_start + size
        yield key, block[value_start:position]
    if position != end:
        raise ValueError("a block does not end where it says")
