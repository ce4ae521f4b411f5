"""Chips that a run can be planned for, and the names by which slices of them are sold.

Knows no JAX: what a plan is for must be known before JAX starts.
"""

from __future__ import annotations

import dataclasses
import difflib
import types
from collections.abc import Mapping
from typing import Literal

GIB = 1024**3


@dataclasses.dataclass(frozen=True)
class Chip:
    """What its maker publishes of one chip.

    Attributes:
        name: as in a device name, after `tpu:` or `gpu:`.
        flops_per_second: peak of dense bfloat16 matrix products.
        float32_share: part of that peak that products of float32 arrays reach at JAX's
            default precision: one bfloat16 pass on a TPU, TF32 on a GPU.
        memory_bytes: of its HBM.
        memory_bytes_per_second: bandwidth of its HBM.
        link_bytes_per_second: what leaves it to its neighbours over all links at once, one
            direction.
        devices: devices that JAX makes of it; they share everything above.
        kind: part of `jax.Device.device_kind`, in lower case.
    """

    name: str
    flops_per_second: float
    float32_share: float
    memory_bytes: int
    memory_bytes_per_second: float
    link_bytes_per_second: float
    devices: int = 1
    kind: str = ""


# TPUs from v5e on: https://docs.cloud.google.com/tpu/docs/v5e, v5p and v6e, read in 2026;
# half of the interconnect bandwidth there, which is of both directions.
TPU_CHIPS = (
    # Jouppi et al. 2021, "Ten lessons from three generations", table 1: 46 TFLOP/s,
    # 700 GB/s, four links of 496 Gbit/s.
    Chip("v2", 46e12, 1.0, 16 * GIB, 700e9, 248e9, devices=2),
    # The same table: 123 TFLOP/s, 900 GB/s, four links of 656 Gbit/s.
    Chip("v3", 123e12, 1.0, 32 * GIB, 900e9, 328e9, devices=2),
    # 275 TFLOP/s, 32 GiB, 1,228 GB/s; Jouppi et al. 2023, table 4: six links of 50 GB/s.
    Chip("v4", 275e12, 1.0, 32 * GIB, 1228e9, 300e9),
    # 197 TFLOP/s, 16 GB, 819 GB/s, 400 GB/s in both directions.
    Chip("v5e", 197e12, 1.0, 16 * GIB, 819e9, 200e9),
    # 459 TFLOP/s, 95 GiB, 2,765 GB/s, 1,200 GB/s in both directions.
    Chip("v5p", 459e12, 1.0, 95 * GIB, 2765e9, 600e9),
    # 918 TFLOP/s, 32 GB, 1,638 GB/s, 800 GB/s in both directions.
    Chip("v6e", 918e12, 1.0, 32 * GIB, 1638e9, 400e9),
)
# Data sheets of the SXM forms, dense; NVLink is given there as the sum of both directions.
GPU_CHIPS = (
    # https://www.nvidia.com/en-us/data-center/a100: 312 TFLOP/s, 156 in TF32.
    Chip("a100", 312e12, 0.5, 80 * 10**9, 2039e9, 300e9, kind="a100"),
    # https://www.nvidia.com/en-us/data-center/h100: 989 TFLOP/s, 494 in TF32.
    Chip("h100", 989e12, 0.5, 80 * 10**9, 3350e9, 450e9, kind="h100"),
    # https://www.nvidia.com/en-us/data-center/h200
    Chip("h200", 989e12, 0.5, 141 * 10**9, 4800e9, 450e9, kind="h200"),
)

# Chips of a slice -> its shape. Slices of v2 and v3 are squares with a host for 2x2.
_SQUARES = {4: "2x2", 16: "4x4", 64: "8x8", 256: "16x16"}
_FLAT = {1: "1x1", 4: "2x2", 8: "2x4", 16: "4x4", 32: "4x8", 64: "8x8", 128: "8x16"} | {
    256: "16x16"
}
_CUBES = {4: "2x2x1", 8: "2x2x2", 16: "2x2x4", 32: "2x4x4", 64: "4x4x4", 128: "4x4x8"} | {
    256: "4x8x8",
    512: "8x8x8",
    1024: "8x8x16",
    2048: "8x16x16",
    4096: "16x16x16",
}
_SLICES: Mapping[str, Mapping[int, str]] = types.MappingProxyType(
    {"v2": _SQUARES, "v3": _SQUARES, "v4": _CUBES, "v5e": _FLAT, "v5p": _CUBES}
    | {"v6e": _FLAT}
)
# Google Cloud's names count cores of these, two to a chip: v4-8 has four chips.
COUNTED_IN_CORES = ("v2", "v3", "v4", "v5p")
GPU_COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


@dataclasses.dataclass(frozen=True)
class Target:
    """What a run is planned for.

    Attributes:
        name: as the user gave it.
        platform: of the devices.
        chip: what is published of the chip; None for a CPU, which is measured.
        num_chips: how many.
        topology: for TPUs, the name by which libtpu knows the slice.
    """

    name: str
    platform: Literal["cpu", "gpu", "tpu"]
    chip: Chip | None
    num_chips: int
    topology: str = ""

    @property
    def num_devices(self) -> int:
        """Devices that JAX makes of the chips."""
        return self.num_chips * (self.chip.devices if self.chip else 1)


def parse_target(name: str) -> Target:
    """The target that a device name stands for.

    Args:
        name: `cpu` or `cpu-N`, `gpu:CHIP` or `gpu:CHIP-N`, `tpu:SLICE` in the words of
            Google Cloud: `tpu:v5e-8` has eight chips, `tpu:v4-8` eight cores, so four.

    Raises:
        ValueError: there is no such device; the nearest one is named.
    """
    platform, _, rest = name.partition(":")
    if platform == "cpu" or name.startswith("cpu-"):
        count = name.partition("-")[2] or "1"
        if name in ("cpu", f"cpu-{count}") and count in map(str, GPU_COUNTS):
            return Target(name, "cpu", None, int(count))
    for chip in TPU_CHIPS:
        for num_chips, shape in _SLICES[chip.name].items():
            if name == f"tpu:{_slice_name(chip.name, num_chips)}":
                return Target(name, "tpu", chip, num_chips, f"{chip.name}:{shape}")
    for chip in GPU_CHIPS:
        if platform == "gpu" and rest in (chip.name, *_counted(chip.name)):
            return Target(name, "gpu", chip, int(rest.partition("-")[2] or 1))
    raise ValueError(_unknown(name))


def _slice_name(chip: str, num_chips: int) -> str:
    return f"{chip}-{num_chips * (2 if chip in COUNTED_IN_CORES else 1)}"


def _counted(name: str) -> list[str]:
    return [f"{name}-{count}" for count in GPU_COUNTS]


def device_names() -> list[str]:
    """All names that `parse_target` knows."""
    names = ["cpu", *_counted("cpu")]
    for chip in GPU_CHIPS:
        names += [f"gpu:{chip.name}", *_counted(f"gpu:{chip.name}")]
    return names + [
        f"tpu:{_slice_name(chip.name, num_chips)}"
        for chip in TPU_CHIPS
        for num_chips in _SLICES[chip.name]
    ]


def _unknown(name: str) -> str:
    """One line about a device that does not exist."""
    known = device_names()
    # v5litepod is how Cloud writes v5e; a chip without a number is one slice too few.
    asked = name.lower().replace("v5litepod", "v5e").replace("v5lite", "v5e")
    family, _, count = asked.rpartition("-")
    siblings = [
        n for n in known if n.startswith(f"{family if count.isdecimal() else asked}-")
    ]
    if siblings and count.isdecimal():
        nearest = min(siblings, key=lambda n: abs(int(n.rpartition("-")[2]) - int(count)))
    elif siblings:
        nearest = siblings[0]
    else:
        nearest = difflib.get_close_matches(asked, known, n=1, cutoff=0.0)[0]
    return (
        f"--device={name} must be a known device; the nearest is {nearest} (cpu, "
        "gpu:CHIP-N, or a TPU slice as Google Cloud names it, such as tpu:v5e-8)"
    )
