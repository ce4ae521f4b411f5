"""Which parameters decay: every one of them, in a table kept as text."""

from __future__ import annotations

import pathlib

import jax
import pytest
from flax import nnx

from bert_jax.bert_config import BertConfig
from bert_jax.model.pretraining import BertForPreTraining
from bert_jax.optim.decay import DECAY_RULES, decay_mask

TABLE = pathlib.Path(__file__).parent / "decay_table.txt"


def parameter_shapes():
    model = nnx.eval_shape(
        lambda: BertForPreTraining(BertConfig.named("tiny"), rngs=nnx.Rngs(0))
    )
    return nnx.to_pure_dict(nnx.state(model, nnx.Param))


def test_table_is_the_one_kept():
    leaves = jax.tree_util.tree_leaves_with_path(decay_mask(parameter_shapes()))
    lines = [
        f"{'decays' if decays else 'stays '} "
        + jax.tree_util.keystr(path, simple=True, separator="/")
        for path, decays in leaves
    ]
    assert lines == TABLE.read_text(encoding="utf-8").splitlines()


def test_rules_are_told_apart_by_name_and_not_by_dims():
    """Biases of queries, keys and values have three dims, and four when stacked."""
    params = parameter_shapes()
    bias = params["bert"]["encoder"]["layers"]["attention"]["qkv"]["bias"]
    assert bias.ndim == 4
    mask = decay_mask(params)
    assert mask["bert"]["encoder"]["layers"]["attention"]["qkv"]["bias"] is False


def test_a_parameter_without_a_rule_is_refused():
    with pytest.raises(ValueError, match=r"parameter head/temperature matches 0"):
        decay_mask({"head": {"temperature": 1.0, "kernel": 1.0}})
    # The name counts, not a part of it.
    with pytest.raises(ValueError, match=r"parameter kernel_scale matches 0"):
        decay_mask({"kernel_scale": 1.0})


def test_a_parameter_with_two_rules_is_refused():
    with pytest.raises(ValueError, match=r"parameter a/kernel matches 2"):
        decay_mask({"a": {"kernel": 1.0}}, (*DECAY_RULES, (r"a/.*", False)))
