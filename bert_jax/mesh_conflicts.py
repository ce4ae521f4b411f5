"""What a mesh of given sizes cannot divide: the same rules before and after the devices.

Read with the configuration, when an axis of −1 is still open, and again when the devices
are known, before anything compiles.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from bert_jax.config_sections import DataConfig, MeshConfig, TrainConfig

AXES = ("data", "fsdp", "tensor", "sequence")


def known_sizes(mesh: MeshConfig) -> dict[str, int]:
    """The size of each axis, 1 for one that takes what is left."""
    return {axis: max(getattr(mesh, axis), 1) for axis in AXES}


def axis_conflicts(mesh: MeshConfig) -> list[str]:
    """Sizes of axes that are impossible whatever is trained."""
    sizes = {axis: getattr(mesh, axis) for axis in AXES}
    problems = [
        f"mesh.{axis}=0 must be at least 1, or -1" for axis, n in sizes.items() if n == 0
    ]
    if sum(n == -1 for n in sizes.values()) > 1:
        problems.append("mesh: only one axis can be -1; give the others a number")
    for axis in ("data", "fsdp"):
        size, slices = sizes[axis], getattr(mesh, f"dcn_{axis}")
        if size > 0 and size % slices:
            problems.append(
                f"mesh.dcn_{axis}={slices} must divide mesh.{axis}={size}, which counts "
                f"all slices; the nearest that does: {nearest_divisors(slices, size)}"
            )
    return problems


def model_conflicts(sizes: Mapping[str, int], dims: Mapping[str, int]) -> list[str]:
    """Dims of a model that its axes do not divide.

    Args:
        sizes: of each axis; one that is not known yet, 1.
        dims: `model.hidden_size`, and by their names those that `tensor` divides.
    """
    hidden = {"model.hidden_size": dims["model.hidden_size"]}
    # Over `tensor` the hidden size divides if the heads do.
    others = {name: value for name, value in dims.items() if name not in hidden}
    return [
        f"mesh.{axis}={sizes[axis]} must divide {name}={value}; the nearest that does: "
        + nearest_divisors(sizes[axis], math.gcd(*fields.values()))
        for axis, fields in (("tensor", others), ("fsdp", hidden))
        for name, value in fields.items()
        if value % sizes[axis]
    ]


def batch_conflicts(
    sizes: Mapping[str, int], data: DataConfig, train: TrainConfig
) -> list[str]:
    """Rows and lengths that do not divide.

    Args:
        sizes: of each axis; one that is not known yet, 1.
        data: for the length of rows.
        train: for the rows of a batch and of a micro-batch.
    """
    problems = []
    parts, length = sizes["sequence"], data.sequence_length
    if length % parts:
        problems.append(
            f"mesh.sequence={parts} must divide data.sequence_length={length}; "
            f"the nearest that does: {nearest_divisors(parts, length)}"
        )
    rows, shards = train.global_batch_size, sizes["data"] * sizes["fsdp"]
    multiple, product, remedy = shards, "mesh.data x mesh.fsdp", ""
    if train.micro_batch_size is not None:
        micro = train.micro_batch_size
        multiple, product = shards * micro, f"train.micro_batch_size={micro} x {product}"
        if rows % shards == 0:
            near = nearest_divisors(micro, rows // shards)
            remedy = f", or set train.micro_batch_size to {near}"
    if rows % multiple:
        nearest = max(1, round(rows / multiple)) * multiple
        problems.append(
            f"train.global_batch_size={rows} must be a multiple of {product} = "
            f"{multiple}; the nearest is {nearest}{remedy}"
        )
    return problems


def nearest_divisors(asked: int, number: int) -> str:
    """The divisors of `number` on both sides of `asked`, in words."""
    divisors = [n for n in range(1, number + 1) if number % n == 0]
    near = [max(n for n in divisors if n <= asked)]
    near += [n for n in divisors if n > asked][:1]
    return " or ".join(map(str, near))
