"""Bytes to lines of text: compression, encodings, ends of lines; bounded memory."""

from __future__ import annotations

import bz2
import codecs
import dataclasses
import gzip
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

import zstandard

from bert_jax.corpora.zstandard_stream import open_zstandard

COMPRESSED = (".gz", ".tgz", ".zst", ".bz2", ".xz")
# A longer line comes in pieces, as if it were several.
MAX_LINE_BYTES = 1 << 25
DAMAGE = (
    EOFError,
    gzip.BadGzipFile,
    zlib.error,
    lzma.LZMAError,
    zstandard.ZstdError,
    tarfile.TarError,
    zipfile.BadZipFile,
)
_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclasses.dataclass
class Counts:
    """What reading dropped or replaced, and how many files were read which way."""

    empty_documents: int = 0
    undecodable_bytes: int = 0
    nul_characters: int = 0
    cut_lines: int = 0
    cut_documents: int = 0
    files_of_wikiextractor: int = 0
    files_of_json_lines: int = 0
    files_cut_at_blank_lines: int = 0
    files_as_one_document: int = 0


def decompressed(stream: IO[bytes], suffix: str) -> IO[bytes]:
    """The content of `stream`, decompressed as the last suffix of its file's name says."""
    suffix = suffix.lower()
    if suffix in (".gz", ".tgz"):
        return cast(IO[bytes], gzip.open(stream, "rb"))
    if suffix == ".bz2":
        return bz2.open(stream, "rb")
    if suffix == ".xz":
        return lzma.open(stream, "rb")
    if suffix == ".zst":
        return cast(IO[bytes], open_zstandard(stream))
    return stream


def read_lines(
    stream: IO[bytes], path: Path, encoding_errors: str, counts: Counts
) -> Iterator[str]:
    """Lines without their ends; a BOM, carriage returns and NULs removed.

    Args:
        stream: bytes, decompressed.
        path: what the stream is called in errors.
        encoding_errors: "replace" or "refuse" bytes that are not UTF-8.
        counts: added to.

    Raises:
        ValueError: the stream is damaged, is UTF-16, or has bytes that are refused.
    """
    offset = 0
    try:
        for raw in _raw_lines(stream, counts):
            mark = b""
            if offset == 0:
                if raw.startswith(_UTF16_MARKS):
                    raise ValueError(f"{path} is UTF-16; convert it to UTF-8 first")
                mark = codecs.BOM_UTF8 if raw.startswith(codecs.BOM_UTF8) else b""
            line = raw.removeprefix(mark)
            yield from _decode(line, path, offset + len(mark), encoding_errors, counts)
            offset += len(raw)
    except DAMAGE as error:
        raise ValueError(
            f"{path} cannot be decompressed after byte {offset} of its text ({error}); "
            "it is damaged or not what its suffix says"
        ) from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error}") from None


def _raw_lines(stream: IO[bytes], counts: Counts) -> Iterator[bytes]:
    """Lines with their ends, none longer than MAX_LINE_BYTES."""
    rest = b""
    while True:
        line = rest + stream.readline(MAX_LINE_BYTES - len(rest))
        if not line:
            return
        rest = b""
        if len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
            counts.cut_lines += 1
            place = _cut_place(line)
            line, rest = line[:place], line[place:]
        yield line


def _cut_place(line: bytes) -> int:
    """Where to cut a long line: after a space if there is one, else between characters."""
    after_space = line.rfind(b" ", len(line) // 2) + 1
    if after_space:
        return after_space
    for back in range(1, 4):
        byte = line[-back]
        if byte >= 0xC0:  # the first byte of a character of several
            width = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return len(line) - back if width > back else len(line)
        if byte < 0x80:
            break
    return len(line)


def _decode(
    raw: bytes, path: Path, offset: int, encoding_errors: str, counts: Counts
) -> Iterator[str]:
    """One line as text; lone carriage returns end lines, too (old Macintosh files)."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        if encoding_errors == "refuse":
            raise ValueError(
                f"{path}: byte {offset + error.start} is not UTF-8; convert the file or "
                "set data.encoding_errors=replace"
            ) from None
        text = raw.decode("utf-8", "replace")
        counts.undecodable_bytes += text.count("�") - raw.count("�".encode())
    if "\0" in text:
        counts.nul_characters += text.count("\0")
        text = text.replace("\0", "")
    text = text.removesuffix("\n").removesuffix("\r")
    yield from text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
