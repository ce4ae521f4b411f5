"""Batches from the host's memory onto the mesh, and activations kept in their place.

Where an array lives follows from the letters of its dims: B rows, L places of a row
(divided over `sequence`), H heads (over `tensor`); T places of a row seen as keys, which
every device of a row has, and all other letters are whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

ROW_AXES = ("data", "fsdp")


def sharding_of(mesh: Mesh, dims: str, row_axes: Sequence[str] = ROW_AXES) -> NamedSharding:
    """Where an array with these dims lives; dims that are not named are whole."""
    axes = {"B": tuple(row_axes), "L": "sequence", "H": "tensor"}
    spec = [axes[letter] if letter in axes else None for letter in dims]
    return NamedSharding(mesh, PartitionSpec(*spec))


def batch_sharding(mesh: Mesh, dims: Any = "B") -> Any:
    """A NamedSharding for each string in `dims`, a tree like the batch or one for all.

    By default rows are over `data` and `fsdp`, and everything else is whole.
    """
    return jax.tree.map(lambda letters: sharding_of(mesh, letters), dims)


def place_batch(batch: Any, mesh: Mesh, dims: Any = "B") -> Any:
    """Global arrays from this host's rows of each array of `batch`."""
    shardings = batch_sharding(mesh, dims)
    if jax.process_count() == 1:
        return jax.device_put(batch, shardings)
    if isinstance(shardings, NamedSharding):
        one = shardings
        shardings = jax.tree.map(lambda _: one, batch)
    return jax.tree.map(jax.make_array_from_process_local_data, shardings, batch)


def make_constrain(
    mesh: Mesh, row_axes: Sequence[str] = ROW_AXES
) -> Callable[[jax.Array, str], jax.Array]:
    """A function for a model to apply to activations: each device keeps its own rows.

    Without it the compiler may let the shards of the parameters decide where activations
    live: over `fsdp` every device then computes all rows instead of gathering parameters.
    XLA (jax 0.10.2) even computes wrong gradients, with rows exchanged, where the last dim
    of an activation goes from `tensor` to `fsdp` between two matrix products.

    Args:
        mesh: the mesh.
        row_axes: what the rows that the model sees are divided over.

    Returns:
        A function of an activation and the letters of its dims.
    """

    def constrain(activation: jax.Array, dims: str) -> jax.Array:
        return jax.lax.with_sharding_constraint(
            activation, sharding_of(mesh, dims, row_axes)
        )

    return constrain


def gather_keys(
    attention: Callable[..., jax.Array], constrain: Callable[[jax.Array, str], jax.Array]
) -> Callable[..., jax.Array]:
    """`attention` where rows are divided over `sequence`: queries stay, keys are gathered.

    Each device answers its own queries, over all places: 2·L·D numbers of a row travel in
    a layer, where scores would be H·L².
    """

    def gathered(
        query_BLHK: jax.Array,
        key_BLHK: jax.Array,
        value_BLHK: jax.Array,
        *rest: Any,
        **named: Any,
    ) -> jax.Array:
        context_BLHK = attention(
            constrain(query_BLHK, "BLHK"),
            constrain(key_BLHK, "BTHK"),
            constrain(value_BLHK, "BTHK"),
            *rest,
            **named,
        )
        return constrain(context_BLHK, "BLHK")

    return gathered
