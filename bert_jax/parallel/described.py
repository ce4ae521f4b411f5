"""Devices to compile for: those of this machine, or described ones that are not here."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Sequence
from typing import Literal

import jax
from jax.experimental import topologies

from bert_jax.parallel.chips import Target
from bert_jax.parallel.environment import has_tpu_compiler

Source = Literal["tpu-compiler", "compiled-here", "abstract"]


def target_devices(target: Target) -> tuple[Sequence[jax.Device], Source]:
    """Devices for a target, and how far what is compiled for them can be believed.

    JAX must have been started as `parallel.environment` says.

    Returns:
        The devices and the source of figures: "tpu-compiler" where the compiler of the
        extra `tpu` stands in for the chips, "compiled-here" on devices that are here,
        "abstract" where fake CPU devices stand for chips.

    Raises:
        ValueError: JAX was started with fewer devices than the target has.
    """
    if target.platform == "tpu" and has_tpu_compiler():
        return _topology(target).devices, "tpu-compiler"
    if target.platform == "gpu" and target.chip is not None:
        here = [d for d in jax.devices() if target.chip.kind in d.device_kind.lower()]
        if len(here) >= target.num_devices:
            return here[: target.num_devices], "compiled-here"
    devices = jax.devices("cpu")
    if len(devices) < target.num_devices:
        raise ValueError(
            f"JAX_NUM_CPU_DEVICES={os.environ.get('JAX_NUM_CPU_DEVICES')} must be at "
            f"least {target.num_devices}, the devices of {target.name}; raise it"
        )
    is_here = target.platform == "cpu"
    return devices[: target.num_devices], "compiled-here" if is_here else "abstract"


def _topology(target: Target) -> topologies.TopologyDescription:
    """A slice as libtpu describes it."""
    # The two cores of a v4 chip are one device in every run of today ("megacore").
    is_v4 = target.topology.startswith("v4:")
    return topologies.get_topology_desc(
        platform="tpu",
        topology_name=target.topology,
        num_slices=1,
        chip_config_name="megacore" if is_v4 else "default",
        chips_per_host_bounds=(1, 1, 1) if target.num_chips == 1 else (2, 2, 1),
    )


def compiler_version(source: Source) -> str:
    """The compiler that figures of a source come from, with its version."""
    package = "libtpu" if source == "tpu-compiler" else "jaxlib"
    return f"{package} {importlib.metadata.version(package)}"
