"""Random bits as a pure function of what they belong to: no state, no key to thread.

A bit drawn for (seed, epoch, example, position) is the same on every mesh, host count
and restart, since nothing but those numbers enters. The mixing function is the 32-bit
finalizer "lowbias32"; on a CPU it costs a third of threefry, and XLA fuses it into the
operation that uses it.

Source: C. Wellons, "Prospecting for Hash Functions" (2018), lowbias32.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

_GOLDEN = 0x9E3779B9
# The first leaves a single value as it is; the others are the primes of xxHash.
_FACTORS = (1, 0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D)


def mix(bits: jax.Array) -> jax.Array:
    """uint32[…] → uint32[…], a bijection in which each input bit flips half the output."""
    bits = bits ^ (bits >> 16)
    bits = bits * jnp.uint32(0x7FEB352D)
    bits = bits ^ (bits >> 15)
    bits = bits * jnp.uint32(0x846CA68B)
    return bits ^ (bits >> 16)


def fold(seed: jax.Array | int, *values: jax.Array | int) -> jax.Array:
    """A seed for each element of `values` under `seed`; the order of values matters.

    Several values are first added up, each times an odd number of its own, then mixed with
    the seed once. What is one number for all rows should be the seed, and what differs by
    row a value: the seed goes through two mixes, values through one, and a compiler that
    puts the mixes of a row into the loop over its elements looks at all their branches.
    (LLVM's vectorizer takes twice as long for each; a chain of a dozen mixes takes hours.)

    Args:
        seed: uint32[…] or an int.
        values: one to four uint32[…] or ints, of shapes that broadcast.

    Returns:
        uint32 of the broadcast shape.
    """
    total = jnp.zeros((), jnp.uint32)
    for value, factor in zip(values, _FACTORS[: len(values)], strict=True):
        total = total + jnp.asarray(value).astype(jnp.uint32) * jnp.uint32(factor)
    return mix(mix(jnp.asarray(seed, jnp.uint32) + jnp.uint32(_GOLDEN)) ^ total)


def bits_at(seeds: jax.Array, positions: jax.Array) -> jax.Array:
    """Bits of given positions of given seeds.

    Args:
        seeds: uint32[…].
        positions: int32 or uint32[…], of a shape that broadcasts with `seeds`.

    Returns:
        uint32 of the broadcast shape, uniform.
    """
    return mix(seeds ^ (positions.astype(jnp.uint32) * jnp.uint32(_GOLDEN)))


def row_bits(seeds_B: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Bits for rows of equal shape, each row from its own seed.

    Args:
        seeds_B: uint32[B].
        shape: shape of one row; less than 2³² elements.

    Returns:
        uint32[B, *shape], uniform; element i of a row is that of `bits_at` position i.
    """
    positions = jax.lax.iota(jnp.uint32, math.prod(shape)).reshape(shape)
    return bits_at(seeds_B.reshape(seeds_B.shape + (1,) * len(shape)), positions)
