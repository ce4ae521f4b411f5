"""The train step of bert_jax on the golden batches, from given weights."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from golden import cases
from golden.hugging_face_names import params_from_hugging_face

from bert_jax.batch import PretrainingBatch
from bert_jax.config_sections import OptimConfig
from bert_jax.model.pretraining import BertForPreTraining
from bert_jax.objective.pretraining import make_pretraining_loss
from bert_jax.optim.optimizer import make_optimizer
from bert_jax.train.state import TrainState
from bert_jax.train.step import make_train_step


class Run(NamedTuple):
    """Loss and gradient norm of each step, and the parameters after the last."""

    loss: np.ndarray
    grad_norm: np.ndarray
    params: Any


@functools.cache
def graphdef() -> nnx.GraphDef[BertForPreTraining]:
    """The model without its parameters."""
    model = nnx.eval_shape(lambda: BertForPreTraining(cases.CONFIG, rngs=nnx.Rngs(0)))
    return nnx.split(model)[0]


def train(
    weights: dict[str, np.ndarray],
    batches: list[PretrainingBatch],
    optim: OptimConfig,
    *,
    optimization_level: int = 3,
) -> Run:
    """One update for each batch, from weights as Transformers names them.

    `optimization_level` is that of the machine code; at 0 it compiles in half the time.
    """
    optimizer = make_optimizer(optim, num_steps=len(batches))
    loss_fn = make_pretraining_loss(cases.MASKING, seed=cases.SEED, sentence_task="nsp")
    step = jax.jit(
        make_train_step(loss_fn, optimizer, graphdef(), seed=cases.SEED),
        compiler_options={"xla_backend_optimization_level": optimization_level},
    )
    params = jax.tree.map(
        lambda x: jnp.asarray(x, jnp.float32),
        params_from_hugging_face(weights, cases.CONFIG),
    )
    state = TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params))
    rows = []
    for batch in batches:
        state, metrics = step(state, batch)
        rows.append((metrics["loss"], metrics["grad_norm"]))
    loss, grad_norm = np.array(rows, np.float64).T
    return Run(loss, grad_norm, jax.tree.map(np.asarray, state.params))
