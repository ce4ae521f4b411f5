"""The formula of FLOPs equals the matrix products of the step that XLA is given."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from flax import nnx
from jax.extend.core import jaxprs_in_params

from bert_jax.bert_config import BertConfig
from bert_jax.model.flops import pretraining_flops_per_row
from bert_jax.model.pretraining import BertForPreTraining


def product_flops(jaxpr: Any) -> int:
    """2mkn of every matrix product in a traced function, loops counted as often as run."""
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            contracted = equation.params["dimension_numbers"][0][0]
            shape = equation.invars[0].aval.shape
            total += (
                2 * equation.outvars[0].aval.size * math.prod(shape[d] for d in contracted)
            )
        times = equation.params["length"] if equation.primitive.name == "scan" else 1
        for inner in jaxprs_in_params(equation.params):
            total += times * product_flops(inner)
    return total


def step_flops(config: BertConfig, length: int, predictions: int) -> int:
    """Products of the forward and backward pass of one row."""
    graphdef, state = nnx.split(
        nnx.eval_shape(lambda: BertForPreTraining(config, rngs=nnx.Rngs(0)))
    )

    def loss(params: Any) -> jax.Array:
        ids_BL = jnp.zeros((1, length), jnp.int32)
        positions_BP = jnp.zeros((1, predictions), jnp.int32)
        output = nnx.merge(graphdef, params)(
            ids_BL, masked_positions=positions_BP, dropout_seeds=jnp.zeros(1, jnp.uint32)
        )
        return (output.prediction_logits**2).sum() + (
            output.seq_relationship_logits**2
        ).sum()

    return product_flops(jax.make_jaxpr(jax.grad(loss))(state).jaxpr)


@pytest.mark.parametrize(
    ("config", "length", "predictions"),
    [
        (BertConfig.named("tiny", vocab_size=1000), 128, 20),
        (BertConfig.named("mini", num_attention_heads=2, intermediate_size=300), 64, 7),
        (BertConfig.named("base"), 512, 76),
    ],
    ids=["tiny", "odd", "base"],
)
def test_formula_counts_every_product(config, length, predictions):
    counted = step_flops(config, length, predictions)
    assert counted == pretraining_flops_per_row(
        config, length=length, predictions=predictions
    )
    deeper = dataclasses.replace(config, num_hidden_layers=config.num_hidden_layers + 1)
    assert step_flops(deeper, length, predictions) > counted
