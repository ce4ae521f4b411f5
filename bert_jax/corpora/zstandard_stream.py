"""Reading .zst files that may have several frames, or may be cut off."""

from __future__ import annotations

import io
from typing import IO, Any

import zstandard

_READ_BYTES = 1 << 18


class ZstandardStream(io.RawIOBase):
    """The decompressed content of a stream, all its frames.

    The readers of `zstandard` end quietly where a file is cut off; this one raises
    EOFError, as those of gzip and bz2 do.
    """

    def __init__(self, packed: IO[bytes]):
        self._file = packed
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


def open_zstandard(packed: IO[bytes]) -> io.BufferedReader:
    """The decompressed content of `packed`, buffered, by lines if so wished.

    Who opened `packed` closes it.
    """
    return io.BufferedReader(ZstandardStream(packed), _READ_BYTES)
