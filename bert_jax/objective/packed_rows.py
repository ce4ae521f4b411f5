"""Sums within the sequences that share a row, and ranks of tokens among their own kind.

Comparisons and integer sums only: the results are the same on every backend and mesh,
and no sequence sees another. Where an array [B, L, L] appears XLA fuses it into the sum
over its last dim, and never stores it.

Shapes: B rows, L length, S sequences in a row.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp


def spread(values_BS: jax.Array, sequence_ids_BL: jax.Array) -> jax.Array:
    """Each token's value of its sequence; 0 for padding.

    Args:
        values_BS: integers[B, S].
        sequence_ids_BL: int32[B, L], 1 … S, 0 for padding.
    """
    ids_S = jnp.arange(1, values_BS.shape[1] + 1)
    is_in_BLS = sequence_ids_BL[:, :, None] == ids_S
    zero = jnp.zeros((), values_BS.dtype)
    return jnp.sum(
        jnp.where(is_in_BLS, values_BS[:, None, :], zero), axis=-1, dtype=values_BS.dtype
    )


def sequence_sums(
    values_BL: jax.Array, sequence_ids_BL: jax.Array, num_sequences: int
) -> jax.Array:
    """int32[B, S]: sums of int32 or bool[B, L] over the tokens of each sequence."""
    ids_S1 = jnp.arange(1, num_sequences + 1)[:, None]
    is_in_BSL = sequence_ids_BL[:, None, :] == ids_S1
    return jnp.sum(jnp.where(is_in_BSL, values_BL[:, None, :], 0), axis=-1, dtype=jnp.int32)


def sum_before(
    values_BL: jax.Array, keys_BL: jax.Array, ties_BL: jax.Array, sequence_ids_BL: jax.Array
) -> jax.Array:
    """For each token, the sum over the tokens that come before it in its sequence.

    A token comes before another if its key is larger or, among equal keys, its tie is
    lower. With values of 1 that is its rank.

    Args:
        values_BL: int32 or bool[B, L].
        keys_BL: int32[B, L], in [−2³¹, 2³¹ − 2].
        ties_BL: int32[B, L].
        sequence_ids_BL: int32[B, L].

    Returns:
        int32[B, L].
    """
    wins_tie_BLL = ties_BL[:, None, :] < ties_BL[:, :, None]
    is_before_BLL = keys_BL[:, None, :] + wins_tie_BLL > keys_BL[:, :, None]
    is_before_BLL &= sequence_ids_BL[:, None, :] == sequence_ids_BL[:, :, None]
    return jnp.sum(
        jnp.where(is_before_BLL, values_BL[:, None, :], 0), axis=-1, dtype=jnp.int32
    )
