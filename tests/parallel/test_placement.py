"""Batches on the mesh: rows are divided, in order, and nothing else is."""

from __future__ import annotations

import numpy as np
import pytest

from bert_jax.config_sections import MeshConfig
from bert_jax.parallel.mesh import make_mesh
from bert_jax.parallel.placement import place_batch


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
