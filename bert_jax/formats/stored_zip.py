"""Zip archives whose entries are stored as they are: where each lies in the file.

Only what `torch.save` writes is read: no compression, no encryption, no comment at the end,
64-bit records or not. Nothing is extracted, so that no entry's name is ever a path.
"""

from __future__ import annotations

import mmap
import struct
import zlib
from typing import NamedTuple

from bert_jax.formats.mapped_file import quoted

_END = struct.Struct("<4s4H2LH")  # of the directory of entries
_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_MAX_DIRECTORY_BYTES = 4 * 2**20
_PIECE_BYTES = 2**20
_ENCRYPTED = 0x1
_FULL = 0xFFFFFFFF  # the value stands in the 64-bit record


class Entry(NamedTuple):
    """Where an entry's bytes lie, and their CRC-32."""

    start: int
    size: int
    crc32: int


def list_stored(content: mmap.mmap, what: str) -> dict[str, Entry]:
    """name → entry, of all that the archive has.

    Raises:
        ValueError: it is broken, compressed, encrypted, or entries lie over one another.
    """
    start, size, count = _directory(content, what)
    directory = content[start : start + size]
    entries: dict[str, Entry] = {}
    position = 0
    for _ in range(count):
        name, entry, position = _entry(content, directory, position, what)
        if name in entries:
            raise _broken(what, f"has the entry {quoted(name)} twice")
        entries[name] = entry
    end = 0
    for entry in sorted(entries.values()):
        if entry.start < end or entry.start + entry.size > start:
            raise _broken(what, "has entries that lie over one another")
        end = entry.start + entry.size
    return entries


def check_crc(content: mmap.mmap, entry: Entry, what: str) -> None:
    """Raises ValueError where an entry's bytes are not those that were written."""
    crc = 0
    for start in range(entry.start, entry.start + entry.size, _PIECE_BYTES):
        stop = min(start + _PIECE_BYTES, entry.start + entry.size)
        crc = zlib.crc32(content[start:stop], crc)
    if crc != entry.crc32:
        raise ValueError(f"{what} must have its CRC-32; it is corrupt, fetch it again")


def _directory(content: mmap.mmap, what: str) -> tuple[int, int, int]:
    """Start, size and number of entries of the directory, from the end of the file."""
    end = len(content) - _END.size
    if end < 0 or content[end : end + 4] != b"PK\5\6":
        raise _broken(what, "has no directory at its end")
    *_, count, size, start, _ = _END.unpack_from(content, end)
    locator = end - _LOCATOR.size
    if locator >= 0 and content[locator : locator + 4] == b"PK\6\7":
        end = _LOCATOR.unpack_from(content, locator)[2]
        if end > locator - _END64.size or content[end : end + 4] != b"PK\6\6":
            raise _broken(what, "has no directory where it says")
        *_, count, size, start = _END64.unpack_from(content, end)
    if start + size > end or size > _MAX_DIRECTORY_BYTES or count * _ENTRY.size > size:
        raise _broken(what, "has a directory of impossible size")
    return start, size, count


def _entry(
    content: mmap.mmap, directory: bytes, position: int, what: str
) -> tuple[str, Entry, int]:
    """One entry of the directory, and where the next one begins."""
    if directory[position : position + 4] != b"PK\1\2" or (
        len(directory) < position + _ENTRY.size
    ):
        raise _broken(what, "has a broken directory")
    fields = _ENTRY.unpack_from(directory, position)
    flags, method = fields[3:5]
    crc32, packed, size, name_size, extra_size, comment_size = fields[7:13]
    header = fields[16]
    name_end = position + _ENTRY.size + name_size
    name = directory[position + _ENTRY.size : name_end].decode("utf-8", "replace")
    size, packed, header = _wide(
        directory[name_end : name_end + extra_size], size, packed, header
    )
    if method or packed != size or flags & _ENCRYPTED:
        raise _broken(what, f"has the entry {quoted(name)} compressed or encrypted")
    if not _is_plain(name):
        raise _broken(what, f"has an entry with the impossible name {quoted(name)}")
    if content[header : header + 4] != b"PK\3\4" or len(content) < header + _LOCAL.size:
        raise _broken(what, f"has no entry {quoted(name)} where it says")
    *_, local_name, local_extra = _LOCAL.unpack_from(content, header)
    start = header + _LOCAL.size + local_name + local_extra
    return name, Entry(start, size, crc32), name_end + extra_size + comment_size


def _wide(extra: bytes, *values: int) -> list[int]:
    """Sizes and offsets, those of 64 bits from the extra field that holds them."""
    wide: list[int] = []
    position = 0
    while position + 4 <= len(extra):
        kind, size = struct.unpack_from("<2H", extra, position)
        if kind == 1:
            field = extra[position + 4 : position + 4 + size]
            wide = [x for (x,) in struct.iter_unpack("<Q", field[: len(field) // 8 * 8])]
        position += 4 + size
    return [wide.pop(0) if value == _FULL and wide else value for value in values]


def _is_plain(name: str) -> bool:
    """Whether a name is one that torch writes: relative, without detours."""
    parts = name.split("/")
    return not set(name) & set("\\\0\n\r") and not {"", ".", ".."} & set(parts)


def _broken(what: str, how: str) -> ValueError:
    return ValueError(f"{what} must be a zip file as torch writes it; it {how}")
