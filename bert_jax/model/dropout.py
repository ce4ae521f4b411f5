"""Dropout keyed by row: the same rows get the same mask wherever they are computed."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from bert_jax.random_bits import fold, row_bits


def dropout(x: jax.Array, rate: float, seeds_B: jax.Array | None, site: int) -> jax.Array:
    """Zeroes elements of `x` with probability `rate` and scales up the others.

    Args:
        x: float[B, …].
        rate: in [0, 1).
        seeds_B: uint32[B], one seed a row; None for no dropout.
        site: which dropout of the layer this is; two sites draw independent masks.

    Returns:
        float[B, …].

    Differs: bits come from a hash of (row seed, site, element) instead of a generator,
        which is what makes the result independent of mesh and batch composition.
    """
    if seeds_B is None or rate == 0.0:
        return x
    bits = row_bits(fold(site, seeds_B), x.shape[1:])
    keep = bits >= jnp.uint32(round(rate * 2**32))
    return jnp.where(keep, x / (1.0 - rate), 0).astype(x.dtype)
