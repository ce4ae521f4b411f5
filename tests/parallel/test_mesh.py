"""Shapes of meshes, whatever the number of devices."""

from __future__ import annotations

import jax
import pytest
from jax.sharding import AxisType

from bert_jax.config_sections import MeshConfig
from bert_jax.parallel.mesh import AXES, check_batch, make_mesh, mesh_shape


@pytest.mark.parametrize(
    ("config", "num_devices", "shape"),
    [
        (MeshConfig(), 1, (1, 1, 1, 1)),
        (MeshConfig(), 8, (8, 1, 1, 1)),
        (MeshConfig(data=1, fsdp=-1), 8, (1, 8, 1, 1)),
        (MeshConfig(data=2, fsdp=2, tensor=-1), 8, (2, 2, 2, 1)),
        (MeshConfig(fsdp=2, tensor=4), 8, (1, 2, 4, 1)),
        (MeshConfig(data=3, fsdp=2, tensor=1), 6, (3, 2, 1, 1)),
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
    ],
)
def test_wrong_products_are_one_line(config: MeshConfig, num_devices: int) -> None:
    with pytest.raises(ValueError, match=f"number of devices, {num_devices}; ") as error:
        mesh_shape(config, num_devices)
    (line,) = str(error.value).splitlines()
    for axis in AXES:  # the values as they were asked for
        assert f"mesh.{axis}={getattr(config, axis)}" in line


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


def test_rows_must_divide() -> None:
    mesh = make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))
    check_batch(mesh, 12)  # tensor takes no rows
    with pytest.raises(ValueError, match=r"=10 must be a multiple of .* = 4; .* is 8$"):
        check_batch(mesh, 10)
    with pytest.raises(ValueError, match=r"the nearest is 4$"):
        check_batch(mesh, 1)
