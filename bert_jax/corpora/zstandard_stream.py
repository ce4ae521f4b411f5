"""Reading .zst files that may have several frames, or may be cut off."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import zstandard

_READ_BYTES = 1 << 18


class ZstandardStream(io.RawIOBase):
    """The decompressed content of a file, all its frames.

    The readers of `zstandard` end quietly where a file is cut off; this one raises
    EOFError, as those of gzip and bz2 do.
    """

    def __init__(self, path: Path):
        self._file = path.open("rb")
        self._frame: Any = None
        self._waiting = b""

    def readable(self) -> bool:
        """True: the stream can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fills the beginning of `buffer`; returns the number of bytes, 0 at the end."""
        while not self._waiting:
            packed = self._file.read(_READ_BYTES)
            if not packed:
                if self._frame is not None and not self._frame.eof:
                    raise EOFError("the file ends within a frame")
                return 0
            self._waiting = self._decompress(packed)
        size = min(len(buffer), len(self._waiting))
        buffer[:size] = self._waiting[:size]
        self._waiting = self._waiting[size:]
        return size

    def _decompress(self, packed: bytes) -> bytes:
        """The content of the next bytes of the file, over ends of frames."""
        content = []
        while packed:
            if self._frame is None or self._frame.eof:
                self._frame = zstandard.ZstdDecompressor().decompressobj()
            content.append(self._frame.decompress(packed))
            packed = self._frame.unused_data
        return b"".join(content)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()
        super().close()


def open_zstandard(path: Path) -> io.BufferedReader:
    """The decompressed content of `path`, buffered, by lines if so wished."""
    return io.BufferedReader(ZstandardStream(path), _READ_BYTES)
