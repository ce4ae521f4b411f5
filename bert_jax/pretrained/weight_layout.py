"""How the arrays of a checkpoint lie in our parameters: cut, transposed, stacked.

Our parameters hold all layers in one array, query, key and value in one array, and a head
of attention as a dim of its own; files have a matrix for each. A `Piece` says where one
array of a file stands, and serves both directions.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]
Place = tuple[int | slice, ...]

# XLA on a CPU takes an array as it lies, without a copy, if it is aligned to this.
_ALIGNMENT_BYTES = 64
# Columns copied at once where a copy transposes: what fits the processor's cache. A
# (3072, 768) matrix takes 1.2 ms so, and 8 ms as a whole.
_TILE = 32


@dataclasses.dataclass(frozen=True)
class Piece:
    """One array of a checkpoint, as a part of one parameter.

    Attributes:
        name: of the array, as the format spells it.
        path: of the parameter.
        place: index of the part in the parameter; dims that it leaves out are whole.
        part_shape: of the part.
        file_shape: of the array.
        num_inputs: leading dims of a kernel's part that are multiplied with the input;
            0 for what is no kernel.
        transposed: whether the file has a kernel as (outputs, inputs).
    """

    name: str
    path: str
    place: Place
    part_shape: Shape
    file_shape: Shape
    num_inputs: int = 0
    transposed: bool = False

    def view(self, array: np.ndarray) -> np.ndarray:
        """An array of the file as the part of the parameter; no copy."""
        if not self.transposed:
            return array.reshape(self.part_shape)
        inputs, outputs = (
            self.part_shape[: self.num_inputs],
            self.part_shape[self.num_inputs :],
        )
        split = array.reshape(*outputs, *inputs)
        return np.moveaxis(
            split, range(len(outputs)), range(self.num_inputs, len(self.part_shape))
        )

    def array(self, parameter: np.ndarray) -> np.ndarray:
        """The array of the file from a whole parameter, contiguous: undoes `view`."""
        part = parameter[self.place]
        if self.transposed:
            rank = len(self.part_shape)
            part = np.moveaxis(
                part, range(self.num_inputs), range(rank - self.num_inputs, rank)
            )
        return np.ascontiguousarray(part.reshape(self.file_shape))


def kernel(
    name: str, path: str, place: Place, shape: Shape, *, num_inputs: int, transposed: bool
) -> Piece:
    """A piece of a kernel; `shape` is that of the part."""
    inputs, outputs = math.prod(shape[:num_inputs]), math.prod(shape[num_inputs:])
    file_shape = (outputs, inputs) if transposed else (inputs, outputs)
    return Piece(name, path, place, shape, file_shape, num_inputs, transposed)


def vector(name: str, path: str, place: Place, shape: Shape) -> Piece:
    """A piece of a bias or scale, flat in the file."""
    return Piece(name, path, place, shape, (math.prod(shape),))


def table(name: str, path: str, num_rows: int, num_columns: int) -> Piece:
    """The first rows of an embedding table."""
    shape = (num_rows, num_columns)
    return Piece(name, path, (slice(0, num_rows),), shape, shape)


def whole(path: str, shape: Shape) -> Piece:
    """A parameter that the file has as it is."""
    return Piece(path, path, (), shape, shape)


def read_block(
    shape: Shape,
    index: tuple[slice, ...],
    pieces: Sequence[Piece],
    arrays: Mapping[str, np.ndarray],
) -> np.ndarray:
    """A block of a parameter, copied once, straight from the arrays of a file.

    Args:
        shape: of the whole parameter.
        index: of the block, a slice without step for each dim.
        pieces: of the parameter; what none of them covers is 0.
        arrays: by the names of the pieces; only those that the block needs are read.

    Returns:
        float32, contiguous and aligned.
    """
    bounds = [part.indices(size)[:2] for part, size in zip(index, shape, strict=True)]
    block = _allocate(tuple(stop - start for start, stop in bounds))
    if any(isinstance(at, slice) and at != slice(None) for p in pieces for at in p.place):
        block[...] = 0.0
    for piece in pieces:
        overlap = _overlap(piece.place, shape, bounds)
        if overlap is not None:
            target, source = overlap
            _copy(block[target], piece.view(arrays[piece.name])[source])
    return block


def _allocate(shape: Shape) -> np.ndarray:
    """float32 of any values; NumPy asks for large pages, which are touched faster."""
    num_bytes = 4 * math.prod(shape)
    memory = np.empty(num_bytes + _ALIGNMENT_BYTES, np.uint8)
    offset = -memory.ctypes.data % _ALIGNMENT_BYTES
    return memory[offset : offset + num_bytes].view(np.float32).reshape(shape)


def _overlap(
    place: Place, shape: Shape, bounds: Sequence[tuple[int, int]]
) -> tuple[Place, tuple[slice, ...]] | None:
    """What a piece and a block share: its index in the block and in the piece's part."""
    target: list[int | slice] = []
    source: list[slice] = []
    whole_dims = (slice(None),) * (len(shape) - len(place))
    for at, size, (start, stop) in zip((*place, *whole_dims), shape, bounds, strict=True):
        if isinstance(at, int):
            if not start <= at < stop:
                return None
            target.append(at - start)
            continue
        first, last, _ = at.indices(size)
        low, high = max(start, first), min(stop, last)
        if low >= high:
            return None
        target.append(slice(low - start, high - start))
        source.append(slice(low - first, high - first))
    return tuple(target), tuple(source)


def _copy(target: np.ndarray, source: np.ndarray) -> None:
    """target[...] = source, in tiles where the two lie in another order."""
    if source.ndim < 2 or source.flags.c_contiguous:
        np.copyto(target, source, casting="same_kind")
        return
    for start in range(0, source.shape[-1], _TILE):
        columns = (..., slice(start, start + _TILE))
        np.copyto(target[columns], source[columns], casting="same_kind")
