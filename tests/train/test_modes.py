"""Every mode of the engine gives the update of one device: meshes, turns, packed rows.

Shapes: B rows, L length.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from train.modes import LEARNING_RATE, LENGTH, ONE, Mode, Run, batch_at, compiled, run

from bert_jax.batch import PretrainingBatch
from bert_jax.model.attention import Visibility, plain_attention

STEPS = 20
# Losses are sums in float32 whose order the mode decides: the last bit is 6e-8, and 20
# Adam steps make few of it; the mistakes below move losses by over 100 times as much.
RTOL = 1e-5
# Four gradients that travel in bfloat16, and their sums, lose up to 7 x 2^-9 of their size,
# and a metric is moved by less than a gradient is. Measured: 3e-4.
BF16_GRADIENT_RTOL = 2e-3
# The network itself in bfloat16: one rounding is 4e-3 of a number, and another order of
# sums is rounded elsewhere. Measured: 6e-3, of a gradient's norm.
BF16_RTOL = 1e-2

MODES = {
    "data": Mode((8, 1, 1, 1)),
    "fsdp": Mode((1, 8, 1, 1)),
    "data, fsdp, tensor": Mode((2, 2, 2, 1)),
    "sequence": Mode((1, 1, 1, 2)),
    "data, tensor, sequence": Mode((2, 1, 2, 2)),
    "four turns": Mode(micro_batch_size=2),
    "data, turns": Mode((4, 1, 1, 1), micro_batch_size=1),
    "data, fsdp, sequence, turns": Mode((2, 2, 1, 2), micro_batch_size=1),
}
SEVERAL_IN_A_ROW = 3


@functools.cache
def batches(packing: int = 1) -> list[PretrainingBatch]:
    return [batch_at(step, packing) for step in range(STEPS)]


@functools.cache
def on_one_device(packing: int = 1, dtype: str = "float32") -> Run:
    return run(ONE._replace(packing=packing, dtype=dtype), batches(packing))


def check_same(found: Run, expected: Run) -> None:
    np.testing.assert_allclose(found.metrics, expected.metrics, rtol=RTOL)
    for name, array in expected.params.items():
        scale = max(np.max(np.abs(array)), LEARNING_RATE * STEPS)
        difference = np.abs(found.params[name] - array)
        if "qkv" in name and "bias" in name:
            # A bias of all keys moves no probability: its gradient is 0, and what is left
            # of it is rounding, which Adam makes visible.
            difference[:, 1] = 0.0
        assert np.max(difference) <= RTOL * scale, name


def different(found: Run, expected: Run) -> float:
    """Largest relative difference of a metric."""
    steps = len(found.metrics)
    return float(np.max(np.abs(found.metrics / expected.metrics[:steps] - 1.0)))


@pytest.mark.parametrize("name", MODES)
def test_every_mode_trains_the_same(name: str) -> None:
    check_same(run(MODES[name], batches()), on_one_device())


def test_packed_rows_in_turns_on_a_mesh_train_the_same() -> None:
    packed = batches(SEVERAL_IN_A_ROW)
    assert any((batch.sequence_ids == SEVERAL_IN_A_ROW).any() for batch in packed)
    mode = Mode((2, 1, 2, 2), micro_batch_size=2, packing=SEVERAL_IN_A_ROW)
    check_same(run(mode, packed), on_one_device(SEVERAL_IN_A_ROW))


def test_the_same_start_gives_the_same_bits() -> None:
    again = run(ONE, batches())
    np.testing.assert_array_equal(again.metrics, on_one_device().metrics)


def test_losses_fall_on_one_batch() -> None:
    losses = run(ONE, [batches()[0]] * 40).metrics[:, 0]
    assert losses[-1] < 0.9 * losses[0]


def test_gradients_that_travel_in_bfloat16_stay_near() -> None:
    found = run(Mode((4, 1, 1, 1), 1, gradient_dtype="bfloat16"), batches())
    assert RTOL < different(found, on_one_device()) < BF16_GRADIENT_RTOL


def test_a_network_in_bfloat16_stays_near_on_a_mesh() -> None:
    found = run(Mode((2, 1, 2, 2), micro_batch_size=2, dtype="bfloat16"), batches())
    assert different(found, on_one_device(dtype="bfloat16")) < BF16_RTOL


@pytest.mark.parametrize("name", ["data", "fsdp", "data, fsdp, tensor"])
def test_every_device_computes_its_own_rows_only(name: str) -> None:
    """Work of one of eight devices; without constraints, `fsdp` computes all rows."""
    flops = compiled(MODES[name]).step.cost_analysis()["flops"]
    whole = compiled(ONE).step.cost_analysis()["flops"]
    assert flops < 0.4 * whole


def test_what_is_computed_again_changes_memory_and_nothing_else() -> None:
    expected = run(ONE._replace(num_layers=4), batches()[:3]).metrics
    num_bytes = {}
    for remat in ("none", "dots", "full"):
        mode = ONE._replace(remat=remat, num_layers=4)
        num_bytes[remat] = compiled(mode).step.memory_analysis().temp_size_in_bytes
        np.testing.assert_allclose(run(mode, batches()[:3]).metrics, expected, rtol=RTOL)
    assert num_bytes["full"] < num_bytes["dots"] < num_bytes["none"]


# Negative controls: mistakes that the tolerances above must see.


@pytest.mark.parametrize("mistake", ["none", "masks", "dropout"])
def test_seeds_that_depend_on_the_number_of_devices_are_seen(mistake: str) -> None:
    """What a mesh of eight would get with its size in a seed."""
    step, changed = 0, batches()[:3]
    if mistake == "masks":  # the epoch enters the seed of masks
        changed = [batch._replace(epochs=batch.epochs + 8) for batch in changed]
    if mistake == "dropout":  # the step enters the key of dropout
        step = 8
    difference = different(run(ONE, changed, step=step), on_one_device())
    assert difference == 0.0 if mistake == "none" else difference > 100 * RTOL


def first_loss(loss_of: Any, *arguments: Any) -> float:
    """A loss of the first batch, relative to that of the step on one device, less 1."""
    program = compiled(ONE).program
    model = nnx.merge(program.graphdef, program.init().params)
    key = jax.random.fold_in(jax.random.key(0), 0)
    loss = float(loss_of(program.training_loss, model, key, *arguments))
    return abs(loss / on_one_device().metrics[0, 0] - 1.0)


@pytest.mark.parametrize("num_parts", [1, 4, 8])
def test_a_mean_of_means_of_parts_is_seen(num_parts: int) -> None:
    """Each device, or each turn, takes its own mean, then the means are averaged."""

    def mean_of_means(loss_fn: Any, model: Any, key: jax.Array) -> jax.Array:
        parts = jax.tree.map(lambda x: x.reshape(num_parts, -1, *x.shape[1:]), batches()[0])
        losses, _ = jax.jit(jax.vmap(lambda part: loss_fn(model, part, key)))(parts)
        return sum(jnp.mean(total / weight) for total, weight in losses.values())

    difference = first_loss(mean_of_means)
    assert difference < RTOL if num_parts == 1 else difference > 100 * RTOL


@pytest.mark.parametrize("num_parts", [1, 2])
def test_keys_that_are_not_gathered_are_seen(num_parts: int) -> None:
    """Each part of a row attends to itself alone."""

    def apart(query: Any, key: Any, value: Any, visible: Visibility, **named: Any) -> Any:
        part_L = 1 + jnp.arange(LENGTH) // (LENGTH // num_parts)
        parts_BL = jnp.broadcast_to(part_L, visible.tokens.shape)
        visible = Visibility(visible.tokens, parts_BL)
        return plain_attention(query, key, value, visible, **named)

    def loss(loss_fn: Any, model: Any, key: jax.Array) -> jax.Array:
        model.bert.encoder.layers.attention.attention = apart
        losses, _ = loss_fn(model, batches()[0], key)
        return sum(total / weight for total, weight in losses.values())

    difference = first_loss(loss)
    assert difference < RTOL if num_parts == 1 else difference > 100 * RTOL
