"""Calls of a model on ragged input: one compilation a bucket, not one a length.

Rows are padded to the next length of `LENGTHS` and batches to the next power of two; the
padding is masked, and cut off the answer. Shapes: B batch, L length.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from flax import nnx

LENGTHS = (16, 32, 48, 64, 96, 128, 192, 256, 384, 512)

# Inputs whose first dim is the batch, and those whose last one is the length, too.
_TOKENS = ("input_ids", "attention_mask", "token_type_ids", "position_ids")
_ROWS = ("masked_positions",)


def can_be_bucketed(inputs: Mapping[str, Any]) -> bool:
    """Whether a call with these arguments is one of values, and of nothing but tokens.

    Inside `jit`, `grad` or `vmap` there are no values yet; targets and dropout belong to
    a training step, whose shapes its author has chosen.
    """
    return all(
        name in (*_TOKENS, *_ROWS) and not isinstance(value, jax.core.Tracer)
        for name, value in inputs.items()
    )


def call_in_buckets(
    model: nnx.Module,
    inputs: Mapping[str, Any],
    options: Mapping[str, bool],
    max_length: int,
) -> Any:
    """The model's answer to `inputs`, computed on a padded batch.

    Args:
        model: takes `inputs` and `options` by name.
        inputs: arrays of int; `input_ids` [B, …, L], `masked_positions` [B, P], the others
            of a shape that broadcasts to that of `input_ids`.
        options: what else to compute.
        max_length: longest row that the model can take.

    Raises:
        ValueError: `input_ids` is empty, or another input does not fit it.
    """
    ids = np.asarray(inputs["input_ids"])
    if not ids.size:
        raise ValueError(
            f"input_ids has shape {ids.shape}; it must have at least one row and one token"
        )
    arrays = {name: _fitted(name, value, ids.shape) for name, value in inputs.items()}
    if "attention_mask" not in arrays:
        arrays["attention_mask"] = np.ones_like(ids)
    batch, length = ids.shape[0], ids.shape[-1]
    rows = 1 << (batch - 1).bit_length()
    columns = bucket_length(length, max_length)
    padded = {name: _padded(name, x, rows, columns) for name, x in arrays.items()}
    graphdef, state = nnx.split(model)
    flags = tuple(sorted(options.items()))
    leaves, tree = jax.tree.flatten((state, padded))
    specs = tuple(jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves)
    kinds = _kinds_of_dims(graphdef, flags, tree, specs)

    def cut(x: jax.Array, dims: tuple[str, ...]) -> jax.Array:
        # Where each row holds several choices, there are as many rows of each.
        kept = {"batch": batch, "length": length}
        sizes = {"batch": rows, "length": columns}
        index = [
            slice(size // sizes[kind] * kept[kind]) if kind else slice(None)
            for size, kind in zip(x.shape, dims, strict=True)
        ]
        return x[tuple(index)]

    return jax.tree.map(cut, _call(graphdef, state, flags, padded), kinds)


def bucket_length(length: int, max_length: int) -> int:
    """The length that rows of `length` are padded to, at most `max_length`."""
    fitting = [size for size in LENGTHS if length <= size <= max_length]
    return fitting[0] if fitting else max(length, max_length)


def _fitted(name: str, value: Any, shape: tuple[int, ...]) -> np.ndarray:
    """An input with a row for each row of `shape`, that of `input_ids`."""
    array = np.asarray(value)
    wanted = shape if name in _TOKENS else (*shape[:-1], *array.shape[-1:])
    try:
        return np.broadcast_to(array, wanted)
    except ValueError:
        raise ValueError(
            f"{name} has shape {array.shape}, which does not fit that of input_ids, {shape}"
        ) from None


def _padded(name: str, x: np.ndarray, rows: int, length: int) -> np.ndarray:
    """Zeros behind the rows, and behind each row."""
    widths = [(0, rows - x.shape[0])] + [(0, 0)] * (x.ndim - 1)
    if name in _TOKENS:
        widths[-1] = (0, length - x.shape[-1])
    return np.pad(x, widths)


@functools.partial(jax.jit, static_argnums=(0, 2))
def _call(graphdef: Any, state: Any, options: Any, inputs: Any) -> Any:
    return nnx.merge(graphdef, state)(**inputs, **dict(options))


@functools.lru_cache(maxsize=256)  # asking takes longer than a small model does
def _kinds_of_dims(graphdef: Any, options: Any, tree: Any, specs: Any) -> Any:
    """Like the answer, of each array which dims are the batch's and which the length's.

    Found by asking, without computing, what a larger batch or shorter rows would change.

    Args:
        graphdef, options: as for `_call`.
        tree, specs: its state and inputs, as shapes.
    """
    state, padded = jax.tree.unflatten(tree, specs)

    def answer(rows: int, columns: int) -> Any:
        inputs = {}
        for name, x in padded.items():
            shape = [x.shape[0] + rows, *x.shape[1:]]
            if name in _TOKENS:
                shape[-1] += columns
            inputs[name] = jax.ShapeDtypeStruct(shape, x.dtype)
        return jax.eval_shape(lambda s, x: _call(graphdef, s, options, x), state, inputs)

    def kinds(x: Any, with_more_rows: Any, with_fewer_columns: Any) -> tuple[str, ...]:
        return tuple(
            "batch" if more != size else "length" if fewer != size else ""
            for size, more, fewer in zip(
                x.shape, with_more_rows.shape, with_fewer_columns.shape, strict=True
            )
        )

    # A row of one token cannot be shorter, and has no padding to be cut off.
    fewer = 1 if padded["input_ids"].shape[-1] > 1 else 0
    return jax.tree.map(kinds, answer(0, 0), answer(1, 0), answer(0, -fewer))
