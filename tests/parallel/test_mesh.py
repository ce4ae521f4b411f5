"""Shapes of meshes, whatever the number of devices."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest
from jax.sharding import AxisType

from bert_jax.config import Config
from bert_jax.config_sections import MeshConfig, TrainConfig
from bert_jax.parallel.mesh import (
    AXES,
    arrange_slices,
    check_mesh,
    make_mesh,
    mesh_shape,
    num_micro_steps,
)


@pytest.mark.parametrize(
    ("config", "num_devices", "shape"),
    [
        (MeshConfig(), 1, (1, 1, 1, 1)),
        (MeshConfig(), 8, (8, 1, 1, 1)),
        (MeshConfig(data=1, fsdp=-1), 8, (1, 8, 1, 1)),
        (MeshConfig(data=2, fsdp=2, tensor=-1), 8, (2, 2, 2, 1)),
        (MeshConfig(fsdp=2, tensor=4), 8, (1, 2, 4, 1)),
        (MeshConfig(data=3, fsdp=2, tensor=1), 6, (3, 2, 1, 1)),
        (MeshConfig(data=2, sequence=-1), 8, (2, 1, 1, 4)),
    ],
)
def test_the_open_axis_takes_what_is_left(
    config: MeshConfig, num_devices: int, shape: tuple[int, ...]
) -> None:
    assert mesh_shape(config, num_devices) == shape


@pytest.mark.parametrize(
    ("config", "num_devices"),
    [
        (MeshConfig(fsdp=3), 8),
        (MeshConfig(data=4, fsdp=1), 8),
        (MeshConfig(data=16), 8),
        (MeshConfig(data=1), 8),
        (MeshConfig(tensor=16), 8),
        (MeshConfig(sequence=3), 8),
    ],
)
def test_wrong_products_are_one_line(config: MeshConfig, num_devices: int) -> None:
    with pytest.raises(ValueError, match=f"number of devices, {num_devices}; ") as error:
        mesh_shape(config, num_devices)
    (line,) = str(error.value).splitlines()
    for axis in AXES:  # the values as they were asked for
        assert f"mesh.{axis}={getattr(config, axis)}" in line


def test_a_wrong_product_names_what_would_be_right() -> None:
    with pytest.raises(ValueError, match=r"mesh.data=4 or .* mesh.sequence=2 would$"):
        mesh_shape(MeshConfig(data=2, fsdp=2, tensor=2), 16)
    with pytest.raises(ValueError, match=r"set mesh.data=-1 and let the others"):
        mesh_shape(MeshConfig(data=3, fsdp=3), 8)


@pytest.mark.parametrize("num_devices", [1, 4, 8])
def test_axes_are_auto_and_every_device_stands_once(num_devices: int) -> None:
    devices = jax.devices()[:num_devices]
    mesh = make_mesh(MeshConfig(), devices)
    assert mesh.axis_names == AXES
    assert mesh.axis_types == (AxisType.Auto,) * 4
    assert sorted(d.id for d in mesh.devices.flat) == [d.id for d in devices]


def test_all_devices_by_default() -> None:
    mesh = make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))
    assert dict(mesh.shape) == {"data": 2, "fsdp": 2, "tensor": 2, "sequence": 1}
    assert mesh.size == jax.device_count()


def tiny(**sections: Any) -> Config:
    """A configuration with the sizes of the model called tiny: 128 units, 2 heads."""
    return Config.from_dict({"model": {"name": "tiny"}, **sections})


@pytest.mark.parametrize(
    ("axis", "said"),
    [
        ("tensor", "mesh.tensor=8 must divide model.num_attention_heads=2; .* does: 2$"),
        ("sequence", "mesh.sequence=8 must divide data.sequence_length=12; .*: 6 or 12$"),
        ("fsdp", "mesh.fsdp=8 must divide model.hidden_size=132; .* does: 6 or 11$"),
    ],
)
def test_what_an_open_axis_makes_impossible_is_refused(axis: str, said: str) -> None:
    """Nothing to see in the configuration alone: −1 becomes 8 with the devices."""
    config = tiny(
        data={"sequence_length": 12, "max_predictions_per_sequence": 2},
        model={"name": "tiny", "hidden_size": 132},
        mesh={"data": 1, axis: -1},
    )
    check_mesh(make_mesh(config.mesh, jax.devices()[:1]), config)
    with pytest.raises(ValueError, match=said):
        check_mesh(make_mesh(config.mesh), config)


@pytest.mark.parametrize(
    ("rows", "micro", "said"),
    [
        (12, None, ""),
        (10, None, "=10 must be a multiple of .* = 4; the nearest is 8$"),
        (1, None, "the nearest is 4$"),
        (24, 3, ""),
        (24, 4, "micro_batch_size=4 x .* = 16; the nearest is 32, or .* to 3 or 6$"),
        (22, 3, "= 12; the nearest is 24$"),
    ],
)
def test_rows_must_divide(rows: int, micro: int | None, said: str) -> None:
    mesh = make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))  # tensor takes no rows
    train = TrainConfig(global_batch_size=rows, micro_batch_size=micro)
    config = dataclasses.replace(tiny(), train=train)
    if not said:
        check_mesh(mesh, config)
        assert num_micro_steps(mesh, rows, micro) == (1 if micro is None else 2)
        return
    with pytest.raises(ValueError, match=said):
        check_mesh(mesh, config)


def devices_of_slices(kind: str, num_slices: int) -> list[Any]:
    """Eight devices whose slices take turns in their numbers."""
    return [
        SimpleNamespace(id=i, platform="cpu", device_kind="cpu", **{kind: i % num_slices})
        for i in range(8)
    ]


@pytest.mark.parametrize("kind", ["slice_index", "process_index"])
@pytest.mark.parametrize(
    ("config", "axis"),
    [
        (MeshConfig(data=-1, tensor=2, dcn_data=2), 0),
        (MeshConfig(data=2, fsdp=4, dcn_fsdp=2), 1),
    ],
)
def test_only_the_named_axis_leads_to_another_slice(
    config: MeshConfig, axis: int, kind: str
) -> None:
    shape, devices = mesh_shape(config, 8), devices_of_slices(kind, 2)

    def slices_of_halves(arranged: np.ndarray) -> list[set[int]]:
        halves = np.split(arranged, 2, axis)
        return [{getattr(device, kind) for device in half.flat} for half in halves]

    arranged = arrange_slices(config, shape, devices)
    assert arranged.shape == shape
    assert sorted(device.id for device in arranged.flat) == list(range(8))
    assert slices_of_halves(arranged) == [{0}, {1}]
    # Negative control: devices in the order in which they are numbered.
    as_numbered = np.array(devices, object).reshape(shape)
    assert slices_of_halves(as_numbered) == [{0, 1}, {0, 1}]


def test_other_slices_than_there_are_are_refused() -> None:
    config = MeshConfig(dcn_data=4)
    with pytest.raises(ValueError, match=r"number of slices, 2; set mesh.dcn_data=2"):
        arrange_slices(config, mesh_shape(config, 8), devices_of_slices("slice_index", 2))
    with pytest.raises(ValueError, match="number of processes, 1;"):
        make_mesh(config)
    with pytest.raises(ValueError, match=r"mesh.dcn_data=3 must divide mesh.data=8"):
        mesh_shape(MeshConfig(dcn_data=3), 8)
