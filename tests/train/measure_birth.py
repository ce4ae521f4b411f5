"""Bytes of this process at its peak, above those before, while a state is born.

    python measure_birth.py sharded|whole

In eight parts on the eight devices of this host, or (a negative control) drawn whole on
one and divided then. Prints one JSON object.
"""

from __future__ import annotations

import json
import resource
import sys

import jax

from bert_jax.bert_config import BertConfig
from bert_jax.config_sections import MeshConfig, OptimConfig
from bert_jax.model.pretraining import BertForPreTraining
from bert_jax.optim.optimizer import make_optimizer
from bert_jax.parallel.mesh import make_mesh
from bert_jax.train.state import abstract_state, init_sharded, make_init

CONFIG = BertConfig(
    vocab_size=16384,
    hidden_size=1024,
    num_hidden_layers=6,
    num_attention_heads=16,
    intermediate_size=4096,
)


def peak_bytes() -> int:
    """Most memory that this process has held."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    mesh = make_mesh(MeshConfig(data=1, fsdp=8))
    init_state = make_init(
        lambda rngs: BertForPreTraining(CONFIG, rngs=rngs),
        make_optimizer(OptimConfig(), 20_000),
    )
    abstract = abstract_state(init_state, mesh)
    jax.block_until_ready(jax.jit(lambda x: x + 1)(jax.numpy.zeros(8)))  # JAX is there
    before = peak_bytes()
    if sys.argv[1] == "sharded":
        state = init_sharded(init_state, abstract, 0)
    else:
        shardings = jax.tree.map(lambda x: x.sharding, abstract)
        state = jax.device_put(jax.jit(init_state)(jax.random.key(0)), shardings)
    jax.block_until_ready(state)
    shards = [s.data.nbytes for x in jax.tree.leaves(state) for s in x.addressable_shards]
    print(json.dumps({"peak": peak_bytes() - before, "shards": sum(shards)}))


if __name__ == "__main__":
    main()
