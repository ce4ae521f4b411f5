"""The devices themselves: compilation cache and measured peak."""

from __future__ import annotations

import os
import time
from pathlib import Path

import jax
import jax.numpy as jnp

MATMUL_SIZE = 2048  # of the square matrices; a few ms on any accelerator, 60 on two cores
_REPEATS = 3


def use_compilation_cache(directory: Path) -> None:
    """Keeps what took long to compile in `directory`, for the next start.

    A folder that the user has chosen by JAX_COMPILATION_CACHE_DIR stays.
    """
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    directory.mkdir(parents=True, exist_ok=True)
    jax.config.update("jax_compilation_cache_dir", str(directory))


def measure_matmul_flops_per_second(dtype: jnp.dtype) -> float:
    """FLOP/s of a 2048³ matrix product in `dtype` on all local devices, best of three.

    The denominator of MFU: what the hardware gives to a matrix product, here and now.
    """
    _, seconds = time_product(jnp.ones((MATMUL_SIZE, MATMUL_SIZE), dtype))
    copies = 1 if jax.default_backend() == "cpu" else jax.device_count()
    return copies * 2 * MATMUL_SIZE**3 / seconds


def time_product(matrix: jax.Array) -> tuple[jax.Array, float]:
    """The square of a matrix on the device where it is, and its seconds, best of three."""
    product = jax.jit(lambda a: a @ a)
    result = product(matrix).block_until_ready()
    seconds = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        product(matrix).block_until_ready()
        seconds.append(time.perf_counter() - start)
    return result, min(seconds)
