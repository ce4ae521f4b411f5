"""States are born in their shards: JAX replicates silently where nobody looks."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec

from bert_jax.bert_config import BertConfig
from bert_jax.config_sections import MeshConfig, OptimConfig
from bert_jax.model.pretraining import BertForPreTraining
from bert_jax.optim.optimizer import make_optimizer
from bert_jax.parallel.mesh import make_mesh
from bert_jax.train.state import TrainState, abstract_state, init_sharded, make_init

MESHES = [(1, 1, 1), (8, 1, 1), (1, 8, 1), (2, 2, 2)]


@functools.cache
def born(mesh_shape: tuple[int, int, int], name: str) -> tuple[TrainState, TrainState]:
    """The abstract and the real state of a small BERT."""
    data, fsdp, tensor = mesh_shape
    mesh = make_mesh(
        MeshConfig(data=data, fsdp=fsdp, tensor=tensor),
        jax.devices()[: data * fsdp * tensor],
    )
    config = BertConfig(
        vocab_size=250,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=32,
    )
    init_state = make_init(
        lambda rngs: BertForPreTraining(config, rngs=rngs),
        make_optimizer(OptimConfig(name=name, warmup_steps=2), 10),
    )
    abstract = abstract_state(init_state, mesh)
    return abstract, init_sharded(init_state, abstract, 3)


def names(tree: Any) -> list[str]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves]


@pytest.mark.parametrize("optimizer", ["bert_adamw", "adamw"])
@pytest.mark.parametrize("mesh_shape", MESHES)
def test_every_array_is_where_the_rules_say(
    mesh_shape: tuple[int, int, int], optimizer: str
) -> None:
    abstract, state = born(mesh_shape, optimizer)
    wanted = dict(zip(names(abstract), jax.tree.leaves(abstract), strict=True))
    num_divided = 0
    for name, leaf in zip(names(state), jax.tree.leaves(state), strict=True):
        assert leaf.sharding == wanted[name].sharding, name
        sharding = wanted[name].sharding
        axes = [axis for axis in sharding.spec if axis is not None]
        parts = np.prod([sharding.mesh.shape[axis] for axis in axes], initial=1)
        shard = leaf.addressable_shards[0].data
        assert shard.size * parts == leaf.size, name  # the bytes are really divided
        num_divided += parts > 1
    # Two moments of each parameter beside it; on (1, 1, 1) and (8, 1, 1) all are whole.
    assert num_divided % 3 == 0
    assert (num_divided > 0) == (mesh_shape in [(1, 8, 1), (2, 2, 2)])


def test_a_replicated_array_would_be_seen() -> None:
    """Negative control: what JAX does with a dim that does not divide, and with no rule."""
    abstract, state = born((1, 8, 1), "bert_adamw")
    kernel = state.params["bert"]["pooler"]["kernel"]
    whole = NamedSharding(kernel.sharding.mesh, PartitionSpec())
    replicated = jax.device_put(kernel, whole)
    assert replicated.sharding != abstract.params["bert"]["pooler"]["kernel"].sharding
    assert replicated.addressable_shards[0].data.size == kernel.size


@pytest.mark.parametrize("mesh_shape", MESHES[1:])
def test_weights_do_not_depend_on_the_mesh(mesh_shape: tuple[int, int, int]) -> None:
    _, one = born((1, 1, 1), "bert_adamw")
    _, many = born(mesh_shape, "bert_adamw")
    for name, a, b in zip(
        names(one), jax.tree.leaves(one), jax.tree.leaves(many), strict=True
    ):
        np.testing.assert_array_equal(a, b, err_msg=name)
    assert int(one.step) == 0
    kernel = np.asarray(one.params["masked_lm"]["transform"]["kernel"])
    assert 0.01 < kernel.std() < 0.03  # drawn, not zeros


def test_seeds_draw_other_weights() -> None:
    init_state = make_init(
        lambda rngs: nnx.Linear(4, 4, rngs=rngs), make_optimizer(OptimConfig(), 20_000)
    )
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    rules = ((r"kernel", (None, None)), (r"bias", (None,)))
    abstract = abstract_state(init_state, mesh, rules)
    first, again, other = (init_sharded(init_state, abstract, s) for s in (0, 0, 1))
    np.testing.assert_array_equal(first.params["kernel"], again.params["kernel"])
    assert np.all(np.asarray(first.params["kernel"]) != other.params["kernel"])


@pytest.mark.slow
@pytest.mark.parametrize("way", ["sharded", "whole"])
def test_weights_are_born_sharded(run_python: Any, way: str) -> None:
    """Never more than half again of what the devices of this host keep."""
    done = run_python(str(Path(__file__).with_name("measure_birth.py")), way)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    print(f"\n{way}: {found}")
    assert found["shards"] > 1e9  # 90M parameters and two moments of each
    assert (found["peak"] < 1.5 * found["shards"]) == (way == "sharded")
