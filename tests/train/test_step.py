"""One update: generic over the loss, deterministic.

That BERT is trained the same in every mode is in test_modes.py.
Imports only JAX, Flax, Optax, NumPy and what stands on them, so that it also runs
where nothing else is installed.

Shapes: B batch.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from bert_jax.config_sections import MeshConfig
from bert_jax.objective.losses import LossFn, Terms
from bert_jax.parallel.mesh import make_mesh
from bert_jax.parallel.placement import place_batch
from bert_jax.parallel.rules import Rules
from bert_jax.train.state import TrainState, abstract_state, init_sharded, make_init
from bert_jax.train.step import jit_train_step, make_eval_step, make_train_step

LINE = np.array([2.0, -1.0, 0.5, 3.0], np.float32)
LINE_RULES: Rules = ((r"line/kernel", ("fsdp", None)), (r"line/bias", (None,)))


class Line(nnx.Module):
    """y = x · w + b."""

    def __init__(self, rngs: nnx.Rngs):
        self.line = nnx.Linear(4, 1, rngs=rngs)

    def __call__(self, x_BD: jax.Array) -> jax.Array:
        return self.line(x_BD)[:, 0]


class Points(NamedTuple):
    """float32[B, 4] and float32[B]."""

    x: Any
    y: Any


def points(seed: int, rows: int = 16) -> Points:
    """Points of a known line."""
    x = np.random.default_rng(seed).normal(size=(rows, 4)).astype(np.float32)
    return Points(x, x @ LINE + 0.25)


def line_loss(model: Any, batch: Points, key: jax.Array | None) -> tuple[Terms, Terms]:
    """Squared error, and a second loss of another weight, to see that both count."""
    error_B = model(batch.x) - batch.y
    rows = jnp.float32(error_B.shape[0])
    size = jnp.sum(jnp.square(model.line.kernel[...]))
    noise = jnp.zeros(()) if key is None else jax.random.uniform(key)
    return (
        {"square": (jnp.sum(error_B**2), rows), "size": (1e-6 * size, jnp.float32(2.0))},
        {"error": (jnp.sum(jnp.abs(error_B)), rows), "noise": (noise, jnp.ones(()))},
    )


class Trained(NamedTuple):
    """What it takes to train something for a few steps."""

    abstract: TrainState
    state: TrainState
    step: Any
    place: Callable[[Any], Any]


def set_up(
    make_model: Callable[[jax.sharding.Mesh, nnx.Rngs], nnx.Module],
    loss_fn: LossFn,
    optimizer: optax.GradientTransformation,
    rules: Rules,
    mesh_shape: tuple[int, int, int] = (1, 1, 1),
    *,
    seed: int = 0,
) -> Trained:
    """A state born on a mesh of the first devices, and its jitted step."""
    data, fsdp, tensor = mesh_shape
    mesh = make_mesh(
        MeshConfig(data=data, fsdp=fsdp, tensor=tensor),
        jax.devices()[: data * fsdp * tensor],
    )
    make = functools.partial(make_model, mesh)
    init_state = make_init(make, optimizer)
    abstract = abstract_state(init_state, mesh, rules)
    graphdef = nnx.graphdef(nnx.eval_shape(lambda: make(nnx.Rngs(0))))
    step = make_train_step(loss_fn, optimizer, graphdef, seed=seed)
    return Trained(
        abstract,
        init_sharded(init_state, abstract, 0),
        jit_train_step(step, abstract, mesh),
        lambda batch: place_batch(batch, mesh),
    )


def run(trained: Trained, batches: list[Any]) -> tuple[TrainState, list[dict[str, float]]]:
    """The state after a step on each batch, and the metrics of each."""
    state, rows = trained.state, []
    for batch in batches:
        state, metrics = trained.step(state, trained.place(batch))
        rows.append({name: float(value) for name, value in metrics.items()})
    return state, rows


def set_up_line(mesh_shape: tuple[int, int, int] = (1, 1, 1), *, seed: int = 0) -> Trained:
    return set_up(
        lambda _, rngs: Line(rngs),
        line_loss,
        optax.sgd(0.1),
        LINE_RULES,
        mesh_shape,
        seed=seed,
    )


@pytest.mark.parametrize("mesh_shape", [(1, 1, 1), (2, 4, 1)])
def test_a_regression_trains_through_the_same_function(
    mesh_shape: tuple[int, int, int],
) -> None:
    state, rows = run(set_up_line(mesh_shape), [points(k) for k in range(60)])
    assert rows[0]["square_loss"] > 1.0
    assert rows[-1]["square_loss"] < 1e-4
    np.testing.assert_allclose(state.params["line"]["kernel"][:, 0], LINE, atol=0.01)
    assert int(state.step) == 60


def test_metrics_are_the_terms_as_means() -> None:
    trained = set_up_line()
    kernel = np.asarray(trained.state.params["line"]["kernel"])[:, 0]  # before donation
    batch = points(0)
    error_B = batch.x @ kernel - batch.y
    _, (row,) = run(trained, [batch])
    assert set(row) == {
        "loss",
        "square_loss",
        "size_loss",
        "error",
        "noise",
        "grad_norm",
        "param_norm",
    }
    square, size = np.mean(error_B**2), 1e-6 * np.sum(kernel**2) / 2
    np.testing.assert_allclose(row["square_loss"], square, rtol=1e-5)
    np.testing.assert_allclose(row["size_loss"], size, rtol=1e-5)
    np.testing.assert_allclose(row["loss"], square + size, rtol=1e-5)
    np.testing.assert_allclose(row["error"], np.mean(np.abs(error_B)), rtol=1e-5)
    gradient = np.append(2 * error_B @ batch.x / 16 + 1e-6 * kernel, 2 * error_B.mean())
    np.testing.assert_allclose(row["grad_norm"], np.linalg.norm(gradient), rtol=1e-5)


def test_the_key_is_that_of_the_seed_and_the_step() -> None:
    for seed in (0, 7):
        _, rows = run(set_up_line(seed=seed), [points(0)] * 3)
        for step, row in enumerate(rows):
            key = jax.random.fold_in(jax.random.key(seed), step)
            assert row["noise"] == float(jax.random.uniform(key))


def test_the_state_is_donated() -> None:
    trained = set_up_line()
    before = jax.tree.leaves(trained.state)
    state, _ = trained.step(trained.state, trained.place(points(0)))
    assert all(leaf.is_deleted() for leaf in before)
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(state))


def test_evaluation_has_no_key_and_keeps_sums() -> None:
    trained = set_up_line()
    graphdef = nnx.graphdef(nnx.eval_shape(lambda: Line(nnx.Rngs(0))))
    terms = jax.jit(make_eval_step(line_loss, graphdef))(trained.state.params, points(0))
    assert set(terms) == {"square_loss", "size_loss", "error", "noise"}
    assert float(terms["square_loss"][1]) == 16.0
    assert float(terms["noise"][0]) == 0.0
