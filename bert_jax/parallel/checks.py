"""Checks of the devices: are they there, do they compute right, does the mesh fit them."""

from __future__ import annotations

from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np

from bert_jax.config import Config
from bert_jax.findings import Finding
from bert_jax.parallel import mesh
from bert_jax.parallel.devices import MATMUL_SIZE, time_product

# Of the fastest device of the same kind; a slower one holds all others up.
MIN_SPEED_SHARE = 0.7


def check_devices(dtype: str) -> list[Finding]:
    """The devices that JAX finds, and a matrix product on each that this process has.

    Args:
        dtype: of the product, by its name.
    """
    try:
        devices = jax.devices()
    except RuntimeError as error:
        mend = (
            "unset JAX_PLATFORMS, or install JAX for this hardware: bert_jax[cuda] or [tpu]"
        )
        return [Finding("devices", False, " ".join(str(error).split()), mend)]
    kinds = Counter(f"{device.platform} {device.device_kind}" for device in devices)
    told = ", ".join(f"{count} x {kind}" for kind, count in kinds.items())
    if jax.process_count() > 1:
        told += f"; process {jax.process_index()} of {jax.process_count()}"
    return [Finding("devices", True, told), *_check_products(dtype)]


def check_mesh(config: Config) -> Finding:
    """Whether the mesh of a configuration fits the devices, its model and its batch."""
    try:
        made = mesh.make_mesh(config.mesh)
        mesh.check_mesh(made, config)
    except ValueError as error:
        return Finding.of_error("mesh", error, "set mesh.data=-1")
    shape = " x ".join(f"{axis} {size}" for axis, size in made.shape.items())
    rows = config.train.global_batch_size // (made.shape["data"] * made.shape["fsdp"])
    return Finding("mesh", True, f"{shape}; {rows} rows of a batch on each part")


def _check_products(dtype: str) -> list[Finding]:
    """A product on each device: right to the last digit, and its rate.

    The entries are −1, 0 and 1, and the sums few enough that every type holds them all.
    """
    rng = np.random.default_rng(0)
    size = MATMUL_SIZE
    matrix = rng.integers(-1, 2, (size, size)) * (rng.random((size, size)) < 1 / 32)
    expected = matrix.astype(np.float32) @ matrix.astype(np.float32)
    found: list[Finding] = []
    rates: list[float] = []
    for device in jax.local_devices():
        given = jax.device_put(jnp.asarray(matrix, dtype), device)
        result, seconds = time_product(given)
        rates.append(2 * size**3 / seconds / 1e12)
        name = f"matmul {device.id}"
        if not np.array_equal(np.asarray(result, np.float32), expected):
            mend = f"take {device} out of use: it gives wrong numbers"
            found.append(Finding(name, False, f"{device} computes wrong", mend))
            continue
        figure = f"right, {rates[-1]:.3g} TFLOP/s in {dtype}"
        found.append(Finding(name, True, figure))
    if jax.default_backend() != "cpu":  # those of one CPU share its cores
        found = [_with_speed(*item, max(rates)) for item in zip(found, rates, strict=True)]
    return found


def _with_speed(finding: Finding, rate: float, best: float) -> Finding:
    """The finding, with advice where the device is far slower than the best."""
    if not finding.ok or rate >= MIN_SPEED_SHARE * best:
        return finding
    mend = f"the fastest has {best:.3g}: look for heat, power limits or other processes"
    return Finding(finding.check, True, finding.figure, mend)
