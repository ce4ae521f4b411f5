"""Runs one pretraining step alone in a process and measures the memory that it takes.

    python measure_step.py [--config=…]

Prints what was planned and what was measured, in bytes. Measured is how far the resident
memory of the process rises, from before the state is there, with everything compiled and
the allocator's free pages given back, to its highest point while the step runs: state,
batch and temporaries, and nothing that JAX needs anyway.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import sys
from pathlib import Path

os.environ["JAX_NUM_CPU_DEVICES"] = "1"
os.environ.pop("NPROC", None)  # of the tests: each thread of XLA's pool has its own scratch

import jax
import jax.numpy as jnp

from bert_jax.config_flags import load_config
from bert_jax.parallel.mesh import make_mesh
from bert_jax.train.plan_step import abstract_batch, compile_step, make_program


def resident_bytes(kind: str) -> int:
    """VmRSS, what is resident now, or VmHWM, the most since the last reset."""
    match = re.search(rf"{kind}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert match
    return int(match[1]) * 1024


def main() -> None:
    config = load_config(sys.argv[1:])
    planned = compile_step(config, jax.devices())
    mesh = make_mesh(config.mesh)
    program = make_program(config, mesh)
    shapes = (program.abstract, abstract_batch(config, mesh))
    step = program.train_step.lower(*shapes).compile()
    make_zeros = (
        jax.jit(lambda: jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes))
        .lower()
        .compile()
    )
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    before = resident_bytes("VmRSS")
    state, batch = jax.block_until_ready(make_zeros())
    Path("/proc/self/clear_refs").write_text("5")  # the highest point starts from here
    jax.block_until_ready(step(state, batch))
    measured = resident_bytes("VmHWM") - before
    print(json.dumps({"planned": planned.peak_bytes, "measured": measured}))


if __name__ == "__main__":
    main()
