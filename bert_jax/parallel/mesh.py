"""One mesh of four axes, whatever the number of devices."""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax
import numpy as np
from jax.sharding import AxisType, Mesh

from bert_jax.config_sections import MeshConfig

AXES = ("data", "fsdp", "tensor", "sequence")


def mesh_shape(config: MeshConfig, num_devices: int) -> tuple[int, int, int, int]:
    """Devices along each axis, with −1 filled in.

    Raises:
        ValueError: the axes do not multiply to `num_devices`.
    """
    sizes = [config.data, config.fsdp, config.tensor, config.sequence]
    asked = math.prod(size for size in sizes if size != -1)
    if -1 in sizes and num_devices % asked == 0:
        sizes[sizes.index(-1)] = num_devices // asked
    if math.prod(sizes) != num_devices:
        named = ", ".join(
            f"mesh.{axis}={size}" for axis, size in zip(AXES, sizes, strict=True)
        )
        raise ValueError(
            f"{named} must multiply to the number of devices, {num_devices}; "
            "set mesh.data=-1 and let the others divide it"
        )
    return (sizes[0], sizes[1], sizes[2], sizes[3])


def make_mesh(config: MeshConfig, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """The mesh of a run, over all devices unless some are given.

    Axis types are Auto: shardings are constraints for the compiler, which places the
    rest (`jax.make_mesh` would make them Explicit, and the embedding gather fail).

    Raises:
        ValueError: the axes do not multiply to the number of devices.
    """
    devices = jax.devices() if devices is None else devices
    shape = mesh_shape(config, len(devices))
    if len(devices) == len(jax.devices()):
        return jax.make_mesh(
            shape, AXES, axis_types=(AxisType.Auto,) * len(AXES), devices=list(devices)
        )
    return Mesh(
        np.asarray(devices).reshape(shape), AXES, axis_types=(AxisType.Auto,) * len(AXES)
    )


def check_batch(mesh: Mesh, global_batch_size: int) -> None:
    """Raises ValueError where the rows of a batch do not divide among the devices."""
    rows = mesh.shape["data"] * mesh.shape["fsdp"]
    if global_batch_size % rows:
        raise ValueError(
            f"train.global_batch_size={global_batch_size} must be a multiple of "
            f"mesh.data x mesh.fsdp = {rows}; the nearest is "
            f"{max(1, round(global_batch_size / rows)) * rows}"
        )
