"""A batch taken apart where it lies, and gradients of groups put together.

Shapes: G groups.
"""

from __future__ import annotations

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from bert_jax.config_sections import MeshConfig
from bert_jax.parallel.accumulation import Accumulation
from bert_jax.parallel.mesh import make_mesh
from bert_jax.parallel.placement import batch_sharding, place_batch

COLLECTIVE = r"all-to-all|all-gather|all-reduce|collective-permute|reduce-scatter"


def accumulation(micro_steps: int, dtype: Any = jnp.float32) -> Accumulation:
    mesh = make_mesh(MeshConfig(data=4, fsdp=2))
    kernel = NamedSharding(mesh, PartitionSpec("fsdp", None))
    return Accumulation(mesh, micro_steps, jnp.dtype(dtype), {"kernel": kernel})


def test_each_device_splits_its_own_rows() -> None:
    rows = np.arange(32 * 3).reshape(32, 3)
    parts = accumulation(2)
    split = jax.jit(parts.split, in_shardings=batch_sharding(parts.mesh))
    placed = place_batch(rows, parts.mesh)
    found = split(placed)
    assert found.shape == (2, 4, 4, 3)
    # Device d of 8 has rows 4d … 4d + 3: two of them in each turn.
    expected = rows.reshape(4, 2, 2, 2, 3).transpose(2, 0, 1, 3, 4).reshape(found.shape)
    np.testing.assert_array_equal(found, expected)
    kept = {s.device: set(s.data.ravel().tolist()) for s in placed.addressable_shards}
    for shard in found.addressable_shards:
        assert set(np.ravel(shard.data).tolist()) == kept[shard.device]
    assert not re.search(COLLECTIVE, split.lower(placed).compile().as_text())


def test_rows_that_move_would_be_seen() -> None:
    """Negative control: turns taken along the batch, not along each device's rows."""
    mesh = accumulation(2).mesh
    by_turns = NamedSharding(mesh, PartitionSpec(None, ("data", "fsdp")))
    split = jax.jit(
        lambda rows: jax.lax.with_sharding_constraint(rows.reshape(2, 16, 3), by_turns),
        in_shardings=batch_sharding(mesh),
    )
    text = split.lower(jax.ShapeDtypeStruct((32, 3), jnp.float32)).compile().as_text()
    assert re.search(COLLECTIVE, text)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_groups_are_added_up_in_the_dtype(dtype: Any) -> None:
    grad_G = np.random.default_rng(0).normal(size=(4, 8, 2)).astype(np.float32)
    parts = accumulation(1, dtype)
    add = jax.jit(lambda grads: parts.add_groups(parts.constrain_groups(grads)))
    total = add({"kernel": grad_G})["kernel"]
    assert total.dtype == jnp.float32
    assert total.sharding.is_equivalent_to(parts.shardings["kernel"], total.ndim)
    error = np.max(np.abs(total - grad_G.sum(axis=0))) / np.max(np.abs(grad_G).sum(axis=0))
    # bfloat16 keeps 8 bits: each of 4 numbers and of 3 sums is off by 2^-9 at the most.
    assert error < (1e-6 if dtype == jnp.float32 else 7 * 2**-9)
    assert (error > 1e-5) == (dtype == jnp.bfloat16)
    name = "bf16" if dtype == jnp.bfloat16 else "f32"
    text = add.lower({"kernel": grad_G}).as_text()
    assert re.search(rf"stablehlo.reduce.*\(tensor<4x8x2x{name}>", text)
