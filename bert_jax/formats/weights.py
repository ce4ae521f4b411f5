"""Named arrays of a file of weights, whatever its format."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from bert_jax.formats.mapped_file import quoted

# NumPy's own names of the types that files of weights hold, and bfloat16, which NumPy has
# not: its bits are the upper half of a float32's.
ELEMENT_TYPES: Mapping[str, np.dtype[Any]] = {
    **{
        name: np.dtype(name)
        for name in (
            *("bool", "int8", "int16", "int32", "int64"),
            *("uint8", "uint16", "uint32", "uint64"),
            *("float16", "float32", "float64"),
        )
    },
    "bfloat16": np.dtype("uint16"),
}

ByteOrder = Literal["<", ">"]

_MAX_DIMS = 32
_MAX_BYTES = 2**62


class StoredArray(NamedTuple):
    """An array as a file has it: a view of the file, and the name of its element type."""

    array: np.ndarray
    dtype: str


class Weights(Mapping[str, np.ndarray]):
    """The arrays of a file, name → array, in the file's order.

    An array is a read-only view of the mapped file: it costs no memory until its values
    are copied, and it stays valid when this object is gone. Where the machine cannot
    compute with the values as they lie there, a new array is made each time one is asked
    for: bfloat16 is widened to float32, exactly; the other byte order is turned.

    Args:
        stored: the arrays as they lie in the file.
        metadata: what else the file says, if its format has room for that.
        files: the files that were read.
    """

    def __init__(
        self,
        stored: Mapping[str, StoredArray],
        metadata: Mapping[str, str],
        files: Sequence[Path],
    ):
        self.stored = dict(stored)
        self.metadata = dict(metadata)
        self.files = tuple(files)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """name → shape, without reading a value."""
        return {name: item.array.shape for name, item in self.stored.items()}

    @property
    def dtypes(self) -> dict[str, str]:
        """name → element type in the file, `bfloat16` among them."""
        return {name: item.dtype for name, item in self.stored.items()}

    def __getitem__(self, name: str) -> np.ndarray:
        array, dtype = self.stored[name]
        if dtype == "bfloat16":
            return _widened(array)
        return (
            array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
        )

    def __contains__(self, name: object) -> bool:
        return name in self.stored

    def __iter__(self) -> Iterator[str]:
        return iter(self.stored)

    def __len__(self) -> int:
        return len(self.stored)


def num_bytes(shape: tuple[int, ...], dtype: str, what: str) -> int:
    """The size of an array.

    Raises:
        ValueError: no array has that shape.
    """
    item_bytes = ELEMENT_TYPES[dtype].itemsize
    possible = len(shape) <= _MAX_DIMS and all(size >= 0 for size in shape)
    if not possible or math.prod(max(size, 1) for size in shape) * item_bytes > _MAX_BYTES:
        raise ValueError(f"{what} has an impossible shape, {quoted(str(shape))}")
    return math.prod(shape) * item_bytes


def view(
    content: Any, shape: tuple[int, ...], dtype: str, *, offset: int, byte_order: ByteOrder
) -> StoredArray:
    """An array that lies in `content`, which is long enough: `num_bytes` has been checked.

    Args:
        content: bytes or a mapped file.
        shape: of the array, in C order.
        dtype: a key of ELEMENT_TYPES.
        offset: where it begins, in bytes; need not be aligned.
        byte_order: `<` or `>`.
    """
    element = ELEMENT_TYPES[dtype].newbyteorder(byte_order)
    count = math.prod(shape)
    if not count:
        return StoredArray(np.zeros(shape, element), dtype)
    flat = np.frombuffer(content, element, count, offset)
    return StoredArray(flat.reshape(shape), dtype)


def _widened(bits: np.ndarray) -> np.ndarray:
    """float32 of the same shape: the bits of bfloat16, and 16 zeros."""
    wide = bits.astype(np.uint32)
    np.left_shift(wide, 16, out=wide)
    return wide.view(np.float32)
