"""The table of sharding rules: it covers the model, and the model uses all of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from bert_jax.bert_config import BertConfig
from bert_jax.config_sections import MeshConfig
from bert_jax.model.pretraining import BertForPreTraining
from bert_jax.parallel.mesh import make_mesh
from bert_jax.parallel.rules import SHARDING_RULES, tree_shardings

GOLDEN = Path(__file__).parent / "tiny_shardings.txt"
MESH = MeshConfig(data=2, fsdp=2, tensor=2)


def tiny_params(**fields: Any) -> dict[str, Any]:
    """Shapes of the parameters of the model called tiny."""
    config = BertConfig.named("tiny", **{"vocab_size": 1000, **fields})
    abstract = nnx.eval_shape(lambda: BertForPreTraining(config, rngs=nnx.Rngs(0)))
    params: dict[str, Any] = nnx.to_pure_dict(nnx.state(abstract, nnx.Param))
    return params


def spec_lines(tree: Any) -> str:
    """path, shape and spec of each array, one a line, sorted."""
    shapes = jax.tree_util.tree_leaves_with_path(tree)
    specs = jax.tree.leaves(tree_shardings(tree, make_mesh(MESH)))
    return "\n".join(
        sorted(
            f"{jax.tree_util.keystr(path, simple=True, separator='/')} "
            f"{list(leaf.shape)} {tuple(sharding.spec)}"
            for (path, leaf), sharding in zip(shapes, specs, strict=True)
        )
    )


def test_specs_of_the_tiny_model() -> None:
    # A change of the file is a change of where every parameter lives: read it closely.
    assert spec_lines(tiny_params()) + "\n" == GOLDEN.read_text()


def test_each_rule_divides_something_or_says_that_it_does_not() -> None:
    """What is large is divided: everything of at least 2 dims of the hidden size."""
    whole = [
        line
        for line in spec_lines(tiny_params()).splitlines()
        if "fsdp" not in line and "tensor" not in line and line.endswith("None, None)")
    ]
    assert {line.split()[0].rsplit("/", 1)[1] for line in whole} <= {"bias", "scale"}


def test_moments_take_the_rule_of_their_parameter() -> None:
    params = tiny_params()
    tree = {"params": params, "opt_state": [{"mu": params, "nu": params}], "count": 1}
    tree["count"] = jax.ShapeDtypeStruct((), jnp.int32)
    shardings = tree_shardings(tree, make_mesh(MESH))
    assert shardings["opt_state"][0] == {
        "mu": shardings["params"],
        "nu": shardings["params"],
    }
    assert tuple(shardings["count"].spec) == ()


def test_uncovered_array_raises() -> None:
    params = tiny_params() | {"probe": {"weight": jax.ShapeDtypeStruct((4,), jnp.float32)}}
    with pytest.raises(ValueError, match=r"^probe/weight matches 0 sharding rules"):
        tree_shardings(params, make_mesh(MESH))


def test_unused_rule_raises() -> None:
    rules = (*SHARDING_RULES, (r"adapter/kernel", (None, None)))
    with pytest.raises(ValueError, match=r"match nothing: adapter/kernel$"):
        tree_shardings(tiny_params(), make_mesh(MESH), rules)
    assert tree_shardings(tiny_params(), make_mesh(MESH), SHARDING_RULES)


def test_two_matching_rules_raise() -> None:
    rules = (*SHARDING_RULES, (r"pooler/kernel", (None, None)))
    with pytest.raises(ValueError, match=r"pooler/kernel matches 2 sharding rules"):
        tree_shardings(tiny_params(), make_mesh(MESH), rules)


def test_a_rule_matches_whole_names_at_the_end_only() -> None:
    tree = {"spooler": {"kernel": jax.ShapeDtypeStruct((4, 4), jnp.float32)}}
    with pytest.raises(ValueError, match="matches 0"):
        tree_shardings(tree, make_mesh(MESH), ((r"pooler/kernel", (None, None)),))
    tree = {"pooler": {"kernel": {"scale": jax.ShapeDtypeStruct((4, 4), jnp.float32)}}}
    with pytest.raises(ValueError, match="matches 0"):
        tree_shardings(tree, make_mesh(MESH), ((r"pooler/kernel", (None, None)),))


def test_wrong_rank_raises() -> None:
    tree = {"w": jax.ShapeDtypeStruct((4, 4), jnp.float32)}
    with pytest.raises(ValueError, match="w has 2 dims, its sharding rule 1"):
        tree_shardings(tree, make_mesh(MESH), (("w", ("fsdp",)),))


def test_dim_that_does_not_divide_raises() -> None:
    tree = {"w": jax.ShapeDtypeStruct((4, 5), jnp.float32)}
    with pytest.raises(
        ValueError, match=r"^mesh.tensor=2 must divide a dim of size 5 of w"
    ):
        tree_shardings(tree, make_mesh(MESH), (("w", ("fsdp", "tensor")),))
    assert tree_shardings(tree, make_mesh(MESH), (("w", ("fsdp", None)),))
    config = make_mesh(MeshConfig(data=1, tensor=-1))
    with pytest.raises(ValueError, match=r"mesh.tensor=8 must divide a dim of size 2 of"):
        tree_shardings(tiny_params(), config)
