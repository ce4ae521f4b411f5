"""One mesh of four axes, whatever the number of devices."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental.mesh_utils import create_hybrid_device_mesh
from jax.sharding import AxisType, Mesh

from bert_jax.config import Config
from bert_jax.config_sections import MeshConfig
from bert_jax.mesh_conflicts import AXES, axis_conflicts, batch_conflicts, model_conflicts


def mesh_shape(config: MeshConfig, num_devices: int) -> tuple[int, int, int, int]:
    """Devices along each axis, with −1 filled in.

    Raises:
        ValueError: the axes do not multiply to `num_devices`, or slices do not divide them.
    """
    sizes = {axis: getattr(config, axis) for axis in AXES}
    asked = math.prod(size for size in sizes.values() if size != -1)
    left = num_devices // asked if num_devices % asked == 0 else -1
    filled = {axis: left if size == -1 else size for axis, size in sizes.items()}
    if math.prod(filled.values()) != num_devices:
        named = ", ".join(f"mesh.{axis}={size}" for axis, size in sizes.items())
        raise ValueError(
            f"{named} must multiply to the number of devices, {num_devices}; "
            + _nearest_product(sizes, num_devices)
        )
    problems = axis_conflicts(dataclasses.replace(config, **filled))
    if problems:
        raise ValueError("\n".join(problems))
    return (filled["data"], filled["fsdp"], filled["tensor"], filled["sequence"])


def _nearest_product(sizes: dict[str, int], num_devices: int) -> str:
    """What one axis would have to be for the product to be right, in words."""
    ways = []
    for axis in sizes:
        others = math.prod(max(n, 1) for other, n in sizes.items() if other != axis)
        if num_devices % others == 0:
            ways.append(f"mesh.{axis}={num_devices // others}")
    if ways:
        return f"with the other axes as they are, {' or '.join(ways)} would"
    return "set mesh.data=-1 and let the others divide it"


def make_mesh(config: MeshConfig, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """The mesh of a run, over all devices unless some are given.

    Axis types are Auto: shardings are constraints for the compiler, which places the
    rest (`jax.make_mesh` would make them Explicit, and the embedding gather fail).

    Raises:
        ValueError: the axes do not multiply to the number of devices, or the slices are
            others than the configuration says.
    """
    devices = jax.devices() if devices is None else devices
    shape = mesh_shape(config, len(devices))
    auto = (AxisType.Auto,) * len(AXES)
    if config.dcn_data * config.dcn_fsdp > 1:
        return Mesh(arrange_slices(config, shape, devices), AXES, axis_types=auto)
    if len(devices) == len(jax.devices()):
        return jax.make_mesh(shape, AXES, axis_types=auto, devices=list(devices))
    return Mesh(np.asarray(devices).reshape(shape), AXES, axis_types=auto)


def arrange_slices(
    config: MeshConfig, shape: tuple[int, int, int, int], devices: Sequence[Any]
) -> np.ndarray:
    """Devices in `shape`, where only steps of `dcn_data`, `dcn_fsdp` lead to other slices.

    A slice is what devices call so (TPUs do), otherwise the devices of one process.

    Raises:
        ValueError: there are not `dcn_data` x `dcn_fsdp` slices.
    """
    over_slices = (config.dcn_data, config.dcn_fsdp, 1, 1)
    has_slices = hasattr(devices[0], "slice_index")
    kind = "slice_index" if has_slices else "process_index"
    num_slices = len({getattr(device, kind) for device in devices})
    if num_slices != math.prod(over_slices):
        raise ValueError(
            f"mesh.dcn_data={config.dcn_data} x mesh.dcn_fsdp={config.dcn_fsdp} must be "
            f"the number of {'slices' if has_slices else 'processes'}, {num_slices}; set "
            f"mesh.dcn_data={num_slices} and mesh.dcn_fsdp=1"
        )
    within = tuple(n // slices for n, slices in zip(shape, over_slices, strict=True))
    return create_hybrid_device_mesh(
        within, over_slices, devices, process_is_granule=not has_slices
    )


def check_mesh(mesh: Mesh, config: Config) -> None:
    """Looks whether the model, its rows and their lengths divide over the devices.

    Raises:
        ValueError: they do not; one line for each dim, with the nearest that would.
    """
    sizes = dict(mesh.shape)
    problems = model_conflicts(sizes, config.divided_dims())
    problems += batch_conflicts(sizes, config.data, config.train)
    if problems:
        raise ValueError("\n".join(problems))


def num_micro_steps(
    mesh: Mesh, global_batch_size: int, micro_batch_size: int | None
) -> int:
    """Turns in which a device computes its rows of a batch; they divide (`check_mesh`)."""
    rows = global_batch_size // (mesh.shape["data"] * mesh.shape["fsdp"])
    return 1 if micro_batch_size is None else rows // micro_batch_size
