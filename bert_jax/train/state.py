"""What a run carries from step to step, born sharded over its mesh."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh

from bert_jax.parallel.rules import SHARDING_RULES, Rules, tree_shardings


class TrainState(NamedTuple):
    """Everything that a step changes; the step number is also the data cursor.

    Attributes:
        step: int32 scalar, updates done so far.
        params: nested dict of float32 arrays.
        opt_state: state of the optimizer.
    """

    step: Any
    params: Any
    opt_state: Any


def make_init(
    make_model: Callable[[nnx.Rngs], nnx.Module], optimizer: optax.GradientTransformation
) -> Callable[[jax.Array], TrainState]:
    """A function of a PRNG key that draws the weights and makes a state of step 0."""

    def init_state(key: jax.Array) -> TrainState:
        params = nnx.to_pure_dict(nnx.state(make_model(nnx.Rngs(key)), nnx.Param))
        return TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params))

    return init_state


def abstract_state(
    init_state: Callable[[jax.Array], TrainState], mesh: Mesh, rules: Rules = SHARDING_RULES
) -> TrainState:
    """Shapes, dtypes and shardings of a state on a mesh; nothing is computed.

    Raises:
        ValueError: the rules do not fit (see `tree_shardings`).
    """
    shapes = jax.eval_shape(init_state, jax.random.key(0))
    return jax.tree.map(
        lambda x, sharding: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding),
        shapes,
        tree_shardings(shapes, mesh, rules),
    )


def init_sharded(
    init_state: Callable[[jax.Array], TrainState], abstract: TrainState, seed: int
) -> TrainState:
    """Draws a state directly in its shards: no device ever holds what it does not keep."""
    shardings = jax.tree.map(lambda x: x.sharding, abstract)
    return jax.jit(init_state, out_shardings=shardings)(jax.random.key(seed))
