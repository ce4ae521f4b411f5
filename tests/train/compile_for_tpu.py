"""Compiles the pretraining step of a configuration for TPU chips that are not there.

    python compile_for_tpu.py TOPOLOGY CHIPS_PER_HOST [--config=…]

The TPU compiler of libtpu runs without a device. Prints one JSON object: bytes of
memory of the compiled step on each chip, and the collectives that are in it.
"""

from __future__ import annotations

import json
import os
import re
import sys
from typing import Any, NamedTuple

# Read by libtpu when it is loaded; without them it looks for a machine with chips.
os.environ.update(
    JAX_PLATFORMS="cpu",
    TPU_SKIP_MDS_QUERY="1",
    TPU_WORKER_HOSTNAMES="localhost",
    TPU_ACCELERATOR_TYPE="v5litepod-4",
)

import jax
import jax.numpy as jnp
from jax.experimental import topologies

from bert_jax.batch import BATCH_DIMS, PretrainingBatch
from bert_jax.config import Config
from bert_jax.config_flags import load_config
from bert_jax.parallel.mesh import check_mesh, make_mesh
from bert_jax.parallel.placement import batch_sharding
from bert_jax.train.setup import Program

COLLECTIVES = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all")


class AnyVocabulary(NamedTuple):
    """A vocabulary of which nothing is known but its size."""

    vocab_size: int
    mask_id: int = 4
    special_ids: tuple[int, ...] = (0, 1, 2, 3, 4)


def compile_step(config: Config, mesh: jax.sharding.Mesh) -> Any:
    """The jitted update of `config`, compiled for the devices of `mesh`."""
    rows, length = config.train.global_batch_size, config.data.sequence_length
    check_mesh(mesh, config)
    program = Program(config, AnyVocabulary(config.tokenizer.vocab_size), mesh)
    per_row = config.data.packing
    batch = PretrainingBatch(
        *[jnp.zeros((rows, length), jnp.int32)] * 4,
        word_starts=jnp.zeros((rows, length), bool),
        sequence_starts=jnp.zeros((rows, per_row), jnp.int32),
        sentence_labels=jnp.zeros((rows, per_row), jnp.int32),
        example_ids=jnp.zeros((rows, per_row), jnp.uint32),
        sources=jnp.zeros(rows, jnp.uint32),
        epochs=jnp.zeros(rows, jnp.uint32),
        mask_stages=jnp.zeros(rows, jnp.int32),
    )
    placed = jax.tree.map(
        lambda x, sharding: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding),
        batch,
        batch_sharding(mesh, BATCH_DIMS),
    )
    return program.train_step.lower(program.abstract, placed).compile()


def main() -> None:
    name, chips_per_host, *arguments = sys.argv[1:]
    topology = topologies.get_topology_desc(
        platform="tpu",
        topology_name=name,
        chips_per_host_bounds=tuple(map(int, chips_per_host.split("x"))),
        num_slices=1,
    )
    config = load_config(arguments)
    compiled = compile_step(config, make_mesh(config.mesh, topology.devices))
    memory, text = compiled.memory_analysis(), compiled.as_text()
    print(
        json.dumps(
            {
                "platform": topology.devices[0].platform,
                "chips": len(topology.devices),
                "arguments": memory.argument_size_in_bytes,
                "outputs": memory.output_size_in_bytes,
                "donated": memory.alias_size_in_bytes,
                "temporaries": memory.temp_size_in_bytes,
                "collectives": {
                    kind: len(re.findall(rf"= \S+ {kind}(?:-start)?\(", text))
                    for kind in COLLECTIVES
                },
            }
        )
    )


if __name__ == "__main__":
    main()
