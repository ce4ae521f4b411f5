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
from typing import Any

# Read by libtpu when it is loaded; without them it looks for a machine with chips.
os.environ.update(
    JAX_PLATFORMS="cpu",
    TPU_SKIP_MDS_QUERY="1",
    TPU_WORKER_HOSTNAMES="localhost",
    TPU_ACCELERATOR_TYPE="v5litepod-4",
)

import jax
import jax.numpy as jnp
from flax import nnx
from jax.experimental import topologies

from bert_jax.batch import PretrainingBatch
from bert_jax.config import Config
from bert_jax.config_flags import load_config
from bert_jax.model.bert import BertForPreTraining
from bert_jax.objective.masking import Masking
from bert_jax.objective.pretraining import make_pretraining_loss
from bert_jax.optim.optimizer import make_optimizer
from bert_jax.parallel.mesh import check_batch, make_mesh
from bert_jax.parallel.placement import batch_sharding, make_row_constraint
from bert_jax.train.state import abstract_state, make_init
from bert_jax.train.step import jit_train_step, make_train_step

COLLECTIVES = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all")


def compile_step(config: Config, mesh: jax.sharding.Mesh) -> Any:
    """The jitted update of `config`, compiled for the devices of `mesh`."""
    train, data = config.train, config.data
    check_batch(mesh, train.global_batch_size)
    bert_config = config.bert_config(config.tokenizer.vocab_size)
    dtype = jnp.dtype(train.dtype)

    def make_model(rngs: nnx.Rngs) -> BertForPreTraining:
        return BertForPreTraining(
            bert_config,
            dtype=dtype,
            rngs=rngs,
            unroll=False,
            constrain=make_row_constraint(mesh),
        )

    masking = Masking(
        mask_rate=config.objective.mask_rate,
        max_predictions=data.max_predictions_per_sequence,
        mask_id=4,
        special_ids=(0, 1, 2, 3, 4),
        vocab_size=bert_config.vocab_size,
    )
    optimizer = make_optimizer(config.optim, train.num_steps)
    abstract = abstract_state(make_init(make_model, optimizer), mesh)
    step = make_train_step(
        make_pretraining_loss(masking, seed=train.seed),
        optimizer,
        nnx.graphdef(nnx.eval_shape(lambda: make_model(nnx.Rngs(0)))),
        seed=train.seed,
    )
    rows, length = train.global_batch_size, data.sequence_length
    batch = PretrainingBatch(
        *[jnp.zeros((rows, length), jnp.int32)] * 3,
        jnp.zeros(rows, jnp.int32),
        *[jnp.zeros(rows, jnp.uint32)] * 2,
    )
    placed = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=batch_sharding(mesh)),
        batch,
    )
    return jit_train_step(step, abstract, mesh).lower(abstract, placed).compile()


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
