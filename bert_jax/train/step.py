"""One update as one jitted function, generic over the loss.

Nothing here knows what is trained: a loss gives sums and weights, `gradients` turns them
into means and differentiates their total, the step applies the optimizer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import optax
from flax import nnx
from jax.sharding import Mesh

from bert_jax.objective.losses import LossFn, Terms, mean
from bert_jax.parallel.accumulation import Accumulation
from bert_jax.parallel.placement import batch_sharding
from bert_jax.train.gradients import (
    make_accumulated_gradients,
    make_gradients,
    sum_of_means,
)
from bert_jax.train.state import TrainState

Metrics = dict[str, jax.Array]
TrainStep = Callable[[TrainState, Any], tuple[TrainState, Metrics]]


def make_train_step(
    loss_fn: LossFn,
    optimizer: optax.GradientTransformation,
    graphdef: nnx.GraphDef[Any],
    *,
    seed: int,
    accumulation: Accumulation | None = None,
) -> TrainStep:
    """The update (state, batch) → (state, metrics), a pure function to be jitted.

    Args:
        loss_fn: (model, batch, key) → losses, other metrics, both as (sum, weight).
        optimizer: turns gradients into updates.
        graphdef: the model without its parameters, from `nnx.split`; with an
            `accumulation`, one whose `constrain` has the row axes of a group.
        seed: the key of step k is `fold_in(key(seed), k)`.
        accumulation: how to take the batch apart; None: the batch is computed at once.

    Returns:
        A function whose metrics are `loss` (the sum of the mean losses), `grad_norm`
        before clipping, `param_norm` after the update, a `NAME_loss` for each loss and
        the other metrics, as means.
    """

    def terms_fn(params: Any, batch: Any, key: jax.Array) -> tuple[Terms, Terms]:
        return loss_fn(nnx.merge(graphdef, params), batch, key)

    gradients = (
        make_gradients(terms_fn)
        if accumulation is None
        else make_accumulated_gradients(terms_fn, accumulation)
    )

    def train_step(state: TrainState, batch: Any) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(jax.random.key(seed), state.step)
        grads, (losses, others) = gradients(state.params, batch, key)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        metrics = {
            "loss": sum_of_means(losses),
            **{f"{name}_loss": mean(term) for name, term in losses.items()},
            **{name: mean(term) for name, term in others.items()},
            "grad_norm": optax.tree.norm(grads),
        }
        params = optax.apply_updates(state.params, updates)
        metrics["param_norm"] = optax.tree.norm(params)
        return TrainState(state.step + 1, params, opt_state), metrics

    return train_step


def make_eval_step(
    loss_fn: LossFn, graphdef: nnx.GraphDef[Any]
) -> Callable[[Any, Any], Terms]:
    """(params, batch) → all terms as (sum, weight), without dropout; to be jitted."""

    def eval_step(params: Any, batch: Any) -> Terms:
        losses, others = loss_fn(nnx.merge(graphdef, params), batch, None)
        return {**{f"{name}_loss": term for name, term in losses.items()}, **others}

    return eval_step


def jit_train_step(
    train_step: TrainStep, abstract: TrainState, mesh: Mesh, dims: Any = "B"
) -> Any:
    """`train_step` compiled for a mesh: state sharded as `abstract` says, and donated.

    Args:
        train_step: what to compile.
        abstract: shapes, dtypes and shardings of the state.
        mesh: the mesh.
        dims: the letters of the batch's dims (see `bert_jax.parallel.placement`).
    """
    shardings = jax.tree.map(lambda x: x.sharding, abstract)
    return jax.jit(
        train_step,
        in_shardings=(shardings, batch_sharding(mesh, dims)),
        out_shardings=(shardings, None),
        donate_argnums=0,
    )
