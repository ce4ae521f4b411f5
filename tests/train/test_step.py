"""One update: generic over the loss, deterministic, the same on every mesh.

Imports only JAX, Flax, Optax, NumPy and what stands on them, so that it also runs
where nothing else is installed.

Shapes: B batch, L length.
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
from batches import make_masking, unpacked_batch
from flax import nnx

from bert_jax.batch import PretrainingBatch
from bert_jax.bert_config import BertConfig
from bert_jax.config_sections import MeshConfig, OptimConfig
from bert_jax.model.pretraining import BertForPreTraining
from bert_jax.objective.losses import LossFn, Terms
from bert_jax.objective.pretraining import make_pretraining_loss
from bert_jax.optim.optimizer import make_optimizer
from bert_jax.parallel.mesh import make_mesh
from bert_jax.parallel.placement import make_row_constraint, place_batch
from bert_jax.parallel.rules import SHARDING_RULES, Rules
from bert_jax.train.state import TrainState, abstract_state, init_sharded, make_init
from bert_jax.train.step import jit_train_step, make_eval_step, make_train_step

# Something else than BERT, from the first line to the last.

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


# BERT on several meshes.

BERT = BertConfig(
    vocab_size=250,
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=64,
    max_position_embeddings=32,
)
ROWS, LENGTH, STEPS = 8, 32, 12
# Losses are sums in float32 whose order the mesh decides: the last bit is 6e-8, 12 Adam
# steps make 2.4e-7 of it at most (measured); the mistakes below move them by over 1e-3.
RTOL = 1e-5
MESHES = [(8, 1, 1), (1, 8, 1), (2, 2, 2)]


def bert_batch(step: int) -> PretrainingBatch:
    """Random rows of very unequal lengths: the means of parts differ from the whole's."""
    rng = np.random.default_rng(step)
    lengths_B = rng.integers(6, LENGTH + 1, ROWS)
    inside_BL = np.arange(LENGTH) < lengths_B[:, None]
    ids_BL = np.where(inside_BL, rng.integers(5, BERT.vocab_size, (ROWS, LENGTH)), 0)
    ids_BL[:, 0] = 2
    return unpacked_batch(
        ids_BL,
        inside_BL & (np.arange(LENGTH) > 3),
        inside_BL,
        labels_B=rng.integers(0, 2, ROWS),
        example_ids_B=rng.permutation(ROWS) + ROWS * step,
        epochs_B=np.zeros(ROWS),
    )


BATCHES = [bert_batch(step) for step in range(STEPS)]
MASKING = make_masking(rate=0.15, most=5, vocab_size=BERT.vocab_size)
BERT_LOSS = make_pretraining_loss(MASKING, seed=0, sentence_task="nsp")


@functools.cache
def set_up_bert(mesh_shape: tuple[int, int, int]) -> Trained:
    """BERT with dropout 0.1 on a mesh; compiled once, its state copied for each run."""
    trained = set_up(
        lambda mesh, rngs: BertForPreTraining(
            BERT, rngs=rngs, unroll=False, constrain=make_row_constraint(mesh)
        ),
        BERT_LOSS,
        make_optimizer(OptimConfig(learning_rate=1e-3, warmup_steps=2), 100),
        SHARDING_RULES,
        mesh_shape,
    )
    lowered = trained.step.lower(trained.state, trained.place(BATCHES[0]))
    return trained._replace(step=lowered.compile())


def bert_losses(
    mesh_shape: tuple[int, int, int], batches: list[PretrainingBatch], *, step: int = 0
) -> np.ndarray:
    """Losses and gradient norm of each update, from the same start."""
    trained = set_up_bert(mesh_shape)
    state = jax.tree.map(jnp.copy, trained.state)
    state = state._replace(step=jax.device_put(jnp.int32(step), state.step.sharding))
    _, rows = run(trained._replace(state=state), batches)
    names = ("loss", "mlm_loss", "nsp_loss", "grad_norm")
    return np.array([[row[name] for name in names] for row in rows])


@functools.cache
def losses_on_one_device() -> np.ndarray:
    return bert_losses((1, 1, 1), BATCHES)


def test_losses_fall_on_one_batch() -> None:
    losses = bert_losses((1, 1, 1), [BATCHES[0]] * 40)
    assert losses[-1, 0] < 0.9 * losses[0, 0]


def test_the_same_start_gives_the_same_bits() -> None:
    again = bert_losses((1, 1, 1), BATCHES)
    np.testing.assert_array_equal(again, losses_on_one_device())


@pytest.mark.parametrize("mesh_shape", MESHES)
def test_every_mesh_gives_the_same_losses(mesh_shape: tuple[int, int, int]) -> None:
    losses = bert_losses(mesh_shape, BATCHES)
    np.testing.assert_allclose(losses, losses_on_one_device(), rtol=RTOL)


@pytest.mark.parametrize("mesh_shape", MESHES)
def test_every_device_computes_its_own_rows_only(mesh_shape: tuple[int, int, int]) -> None:
    """Work of one of eight devices; with `fsdp` it was that of all rows, and is no more."""
    flops = set_up_bert(mesh_shape).step.cost_analysis()["flops"]
    whole = set_up_bert((1, 1, 1)).step.cost_analysis()["flops"]
    assert flops < 0.4 * whole


def different(losses: np.ndarray) -> float:
    """Largest relative difference to the losses of the run on one device."""
    return float(np.max(np.abs(losses / losses_on_one_device()[: len(losses)] - 1.0)))


@pytest.mark.parametrize("mistake", ["none", "masks", "dropout"])
def test_seeds_that_depend_on_the_number_of_devices_are_seen(mistake: str) -> None:
    """Negative control: what a mesh of eight would get with its size in a seed."""
    batches, step = BATCHES[:3], 0
    if mistake == "masks":  # the epoch enters the seed of masks
        batches = [batch._replace(epochs=batch.epochs + 8) for batch in batches]
    if mistake == "dropout":  # the step enters the key of dropout
        step = 8
    difference = different(bert_losses((1, 1, 1), batches, step=step))
    assert difference == 0.0 if mistake == "none" else difference > 100 * RTOL


@pytest.mark.parametrize("num_devices", [1, 8])
def test_a_mean_of_means_of_devices_is_seen(num_devices: int) -> None:
    """Negative control: each device takes its own mean, then the means are averaged."""
    state = set_up_bert((1, 1, 1)).state
    graphdef = nnx.graphdef(
        nnx.eval_shape(lambda: BertForPreTraining(BERT, rngs=nnx.Rngs(0), unroll=False))
    )
    key = jax.random.fold_in(jax.random.key(0), 0)
    parts = jax.tree.map(lambda x: x.reshape(num_devices, -1, *x.shape[1:]), BATCHES[0])

    @jax.jit
    def mean_of_means(params: Any, parts: PretrainingBatch) -> jax.Array:
        model = nnx.merge(graphdef, params)
        losses, _ = jax.vmap(lambda part: BERT_LOSS(model, part, key))(parts)
        return sum(jnp.mean(total / weight) for total, weight in losses.values())

    loss = float(mean_of_means(state.params, parts))
    difference = abs(loss / losses_on_one_device()[0, 0] - 1.0)
    assert difference < RTOL if num_devices == 1 else difference > 100 * RTOL
