"""One update as one jitted function, generic over the loss.

Nothing here knows what is trained: a loss gives sums and weights, the step turns them
into means, differentiates their total and applies the optimizer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import optax
from flax import nnx
from jax.sharding import Mesh

from bert_jax.objective.losses import LossFn, Terms, mean
from bert_jax.parallel.placement import batch_sharding
from bert_jax.train.state import TrainState

Metrics = dict[str, jax.Array]
TrainStep = Callable[[TrainState, Any], tuple[TrainState, Metrics]]


def make_train_step(
    loss_fn: LossFn,
    optimizer: optax.GradientTransformation,
    graphdef: nnx.GraphDef[Any],
    *,
    seed: int,
) -> TrainStep:
    """The update (state, batch) → (state, metrics), a pure function to be jitted.

    Args:
        loss_fn: (model, batch, key) → losses, other metrics, both as (sum, weight).
        optimizer: turns gradients into updates.
        graphdef: the model without its parameters, from `nnx.split`.
        seed: the key of step k is `fold_in(key(seed), k)`.

    Returns:
        A function whose metrics are `loss` (the sum of the mean losses), `grad_norm`
        before clipping, `param_norm` after the update, a `NAME_loss` for each loss and
        the other metrics, as means.
    """

    def train_step(state: TrainState, batch: Any) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(jax.random.key(seed), state.step)

        def total_loss(params: Any) -> tuple[jax.Array, tuple[Terms, Terms]]:
            losses, others = loss_fn(nnx.merge(graphdef, params), batch, key)
            return sum_of_means(losses), (losses, others)

        (loss, (losses, others)), grads = jax.value_and_grad(total_loss, has_aux=True)(
            state.params
        )
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        metrics = {
            "loss": loss,
            **{f"{name}_loss": mean(term) for name, term in losses.items()},
            **{name: mean(term) for name, term in others.items()},
            "grad_norm": optax.tree.norm(grads),
        }
        params = optax.apply_updates(state.params, updates)
        metrics["param_norm"] = optax.tree.norm(params)
        return TrainState(state.step + 1, params, opt_state), metrics

    return train_step


def sum_of_means(losses: Terms) -> jax.Array:
    """What is minimised: each loss divided by its own weight, then added up."""
    return sum((mean(term) for term in losses.values()), start=jax.numpy.zeros(()))


def make_eval_step(
    loss_fn: LossFn, graphdef: nnx.GraphDef[Any]
) -> Callable[[Any, Any], Terms]:
    """(params, batch) → all terms as (sum, weight), without dropout; to be jitted."""

    def eval_step(params: Any, batch: Any) -> Terms:
        losses, others = loss_fn(nnx.merge(graphdef, params), batch, None)
        return {**{f"{name}_loss": term for name, term in losses.items()}, **others}

    return eval_step


def jit_train_step(train_step: TrainStep, abstract: TrainState, mesh: Mesh) -> Any:
    """`train_step` compiled for a mesh: state sharded as `abstract` says, and donated."""
    shardings = jax.tree.map(lambda x: x.sharding, abstract)
    return jax.jit(
        train_step,
        in_shardings=(shardings, batch_sharding(mesh)),
        out_shardings=(shardings, None),
        donate_argnums=0,
    )
