"""Batches on the mesh: rows are divided, in order, and nothing else is."""

from __future__ import annotations

import numpy as np
import pytest
from jax.sharding import PartitionSpec

from bert_jax.config_sections import MeshConfig
from bert_jax.parallel.mesh import make_mesh
from bert_jax.parallel.placement import place_batch, sharding_of


@pytest.mark.parametrize(
    ("config", "rows_a_device"),
    [
        (MeshConfig(), 2),
        (MeshConfig(data=1, fsdp=-1), 2),
        (MeshConfig(data=2, fsdp=2, tensor=2), 4),
        (MeshConfig(data=1, tensor=-1), 16),
    ],
)
def test_rows_are_divided_over_data_and_fsdp(
    config: MeshConfig, rows_a_device: int
) -> None:
    batch = {
        "ids": np.arange(16 * 6, dtype=np.int32).reshape(16, 6),
        "labels": np.arange(16, dtype=np.uint32),
    }
    placed = place_batch(batch, make_mesh(config))
    for name, array in placed.items():
        np.testing.assert_array_equal(array, batch[name])
        assert array.dtype == batch[name].dtype
        shapes = {shard.data.shape for shard in array.addressable_shards}
        assert shapes == {(rows_a_device, *batch[name].shape[1:])}


def test_places_of_a_row_are_divided_over_sequence() -> None:
    batch = {"ids": np.arange(4 * 6).reshape(4, 6), "starts": np.arange(8).reshape(4, 2)}
    mesh = make_mesh(MeshConfig(data=2, sequence=2, tensor=2))
    placed = place_batch(batch, mesh, {"ids": "BL", "starts": "BS"})
    shapes = {
        name: array.addressable_shards[0].data.shape for name, array in placed.items()
    }
    assert shapes == {"ids": (2, 3), "starts": (2, 2)}
    np.testing.assert_array_equal(placed["ids"], batch["ids"])


def test_arrays_live_where_their_letters_say() -> None:
    mesh = make_mesh(MeshConfig(data=2, tensor=2, sequence=2))
    spec = sharding_of(mesh, "BLHK").spec
    assert tuple(spec) == (("data", "fsdp"), "sequence", "tensor", None)
    assert sharding_of(mesh, "BTHK", ("fsdp",)).spec == PartitionSpec(
        "fsdp", None, "tensor", None
    )
