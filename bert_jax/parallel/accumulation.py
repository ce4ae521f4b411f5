"""A batch in micro-batches, and the gradients of its groups of rows.

A *group* is the rows of one place along `data`. Each group sums its own gradient over all
micro-batches, and the groups are added up once a step, not once a micro-batch.

Shapes: M micro-batches, G groups (`mesh.data`), R rows of a group in a micro-batch.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

GROUP_AXIS = "data"
# What the rows of one group are divided over: for the model's `constrain`.
ROW_AXES_OF_A_GROUP = ("fsdp",)


@dataclasses.dataclass(frozen=True)
class Accumulation:
    """How a batch is taken apart and gradients are put together.

    Attributes:
        mesh: the mesh.
        num_micro_steps: M, parts that are computed one after the other.
        dtype: in which the gradients of the groups travel and are added up.
        shardings: a NamedSharding for each parameter.
    """

    mesh: Mesh
    num_micro_steps: int
    dtype: Any
    shardings: Any

    def split(self, batch: Any) -> Any:
        """[B, …] → [M, G, R, …]; each device splits the rows that it has, none is moved."""
        groups, parts = self.mesh.shape[GROUP_AXIS], self.mesh.shape["fsdp"]

        def split(rows: jax.Array) -> jax.Array:
            own = rows.shape[0] // (groups * parts * self.num_micro_steps)
            rest = rows.shape[1:]
            rows = rows.reshape(groups, parts, self.num_micro_steps, own, *rest)
            rows = rows.transpose(2, 0, 1, 3, *range(4, rows.ndim))
            rows = rows.reshape(self.num_micro_steps, groups, parts * own, *rest)
            spec = PartitionSpec(
                None,
                GROUP_AXIS,
                *ROW_AXES_OF_A_GROUP,
                *[PartitionSpec.UNCONSTRAINED] * len(rest),
            )
            return jax.lax.with_sharding_constraint(rows, NamedSharding(self.mesh, spec))

        return jax.tree.map(split, batch)

    def constrain_groups(self, grads: Any) -> Any:
        """float[G, …] of each parameter: each group's own, divided as the parameter."""

        def constrain(grad: jax.Array, sharding: NamedSharding) -> jax.Array:
            spec = PartitionSpec(GROUP_AXIS, *sharding.spec)
            return jax.lax.with_sharding_constraint(grad, NamedSharding(self.mesh, spec))

        return jax.tree.map(constrain, grads, self.shardings)

    def add_groups(self, grads: Any) -> Any:
        """float32[G, …] → float32[…], added up over `data`, sent in `dtype`."""

        def add(grad: jax.Array, sharding: NamedSharding) -> jax.Array:
            # Not `jnp.sum`, which adds up bfloat16 in float32.
            total = jax.lax.reduce_sum(grad.astype(self.dtype), axes=(0,))
            return jax.lax.with_sharding_constraint(total, sharding).astype(grad.dtype)

        return jax.tree.map(add, grads, self.shardings)
