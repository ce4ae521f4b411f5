"""Batches from the host's memory onto the mesh."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Rows over `data` and `fsdp`, everything else whole."""
    return NamedSharding(mesh, PartitionSpec(("data", "fsdp")))


def place_batch(batch: Any, mesh: Mesh) -> Any:
    """Global arrays from this host's rows of each array of `batch`."""
    sharding = batch_sharding(mesh)
    if jax.process_count() == 1:
        return jax.device_put(batch, sharding)
    return jax.tree.map(
        lambda rows: jax.make_array_from_process_local_data(sharding, rows), batch
    )


def make_row_constraint(mesh: Mesh) -> Callable[[jax.Array], jax.Array]:
    """A function for a model to apply to float[B, …]: each device keeps its own rows.

    Without it the compiler may let the shards of the parameters decide where activations
    live: over `fsdp` every device then computes all rows instead of gathering parameters.
    XLA (jax 0.10.2) even computes wrong gradients, with rows exchanged, where the last dim
    of an activation goes from `tensor` to `fsdp` between two matrix products.
    """
    sharding = batch_sharding(mesh)
    return lambda activation: jax.lax.with_sharding_constraint(activation, sharding)
