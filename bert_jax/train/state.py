"""What a run carries from step to step, born sharded over its mesh."""

from __future__ import annotations

import dataclasses
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


@dataclasses.dataclass(frozen=True)
class Init:
    """How a state of step 0 comes about; called with a PRNG key, it makes one.

    Attributes:
        params: PRNG key → drawn weights.
        opt_state: weights → the optimizer's state.
    """

    params: Callable[[jax.Array], Any]
    opt_state: Callable[[Any], Any]

    def __call__(self, key: jax.Array) -> TrainState:
        """A state of step 0."""
        params = self.params(key)
        return TrainState(jnp.zeros((), jnp.int32), params, self.opt_state(params))


def make_init(
    make_model: Callable[[nnx.Rngs], nnx.Module], optimizer: optax.GradientTransformation
) -> Init:
    """Draws the weights of a model, for an optimizer."""

    def params(key: jax.Array) -> Any:
        return nnx.to_pure_dict(nnx.state(make_model(nnx.Rngs(key)), nnx.Param))

    return Init(params, optimizer.init)


def abstract_state(
    init_state: Init, mesh: Mesh, rules: Rules = SHARDING_RULES
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


def init_sharded(init_state: Init, abstract: TrainState, seed: int) -> TrainState:
    """Draws a state directly in its shards: no device ever holds what it does not keep.

    The weights come first and the optimizer's state after them: random bits take as much
    memory again while weights are drawn, and so would lie beside all of it.
    """
    shardings = jax.tree.map(lambda x: x.sharding, abstract)
    draw = jax.jit(init_state.params, out_shardings=shardings.params)
    params = jax.block_until_ready(draw(jax.random.key(seed)))
    rest = jax.jit(init_state.opt_state, out_shardings=shardings.opt_state)(params)
    step = jax.device_put(jnp.zeros((), jnp.int32), shardings.step)
    return TrainState(step, params, rest)
