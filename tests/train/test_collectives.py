"""What the compiled step sends between devices, read from its text.

Shapes: B rows, L length, D hidden, H heads, K head size.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import pytest
from train.modes import LENGTH, ONE, ROWS, Mode, compile_step, compiled, make_program

KINDS = "all-gather|all-reduce|reduce-scatter|all-to-all|collective-permute"
HIDDEN, HEADS, HEAD_SIZE, FFN = 32, 2, 16, 64


class Collective(NamedTuple):
    """One operation: its kind, the shapes of its floats (without dims of 1), its place."""

    kind: str
    shapes: tuple[tuple[int, ...], ...]
    is_in_loop: bool


def collectives(mode: Mode) -> list[Collective]:
    """All of the step; what is not in the entry of a program is in a loop."""
    found, is_entry = [], False
    for line in compiled(mode).step.as_text().splitlines():
        if line.endswith("{") and not line.startswith(" "):
            is_entry = line.startswith("ENTRY")
        match = re.search(rf" = (.*?) ({KINDS})(?:-start)?\(", line)
        if match:
            dims = re.findall(r"\b(?:f32|bf16)\[([\d,]*)\]", match[1])
            shapes = tuple(
                tuple(n for n in map(int, d.split(",")) if n > 1) for d in dims if d
            )
            found.append(Collective(match[2], shapes, not is_entry))
    return found


def kinds(mode: Mode) -> set[str]:
    return {collective.kind for collective in collectives(mode)}


def gathered_in_loop(mode: Mode) -> list[tuple[int, ...]]:
    """Shapes of the floats that are gathered for each layer, dims in order of size."""
    return [
        tuple(sorted(shape))
        for collective in collectives(mode)
        if collective.is_in_loop and collective.kind == "all-gather"
        for shape in collective.shapes
    ]


def test_one_device_sends_nothing() -> None:
    assert not collectives(ONE)


def test_over_data_gradients_are_added_up_and_nothing_else_is_sent() -> None:
    assert kinds(Mode((8, 1, 1, 1))) == {"all-reduce"}


def test_in_turns_over_data_gradients_are_added_up_once() -> None:
    found = collectives(Mode((4, 1, 1, 1), micro_batch_size=1))
    assert {collective.kind for collective in found} == {"all-reduce"}
    assert not any(collective.is_in_loop for collective in found)


def test_parameters_in_parts_are_gathered_and_their_gradients_added_up() -> None:
    mode = Mode((1, 8, 1, 1))
    gathered = gathered_in_loop(mode)
    # The matrices of a layer, where they are used, and no activation.
    assert (HIDDEN, FFN) in gathered
    assert not [shape for shape in gathered if LENGTH in shape and ROWS in shape]
    assert kinds(mode) & {"reduce-scatter", "all-reduce"}


def test_halves_of_a_layer_are_added_up() -> None:
    found = collectives(Mode((1, 1, 2, 1)))
    assert {c.kind for c in found if c.is_in_loop} == {"all-reduce"}


def test_over_sequence_keys_and_values_are_gathered() -> None:
    mode = Mode((1, 1, 1, 2))
    keys = tuple(sorted((ROWS, LENGTH, HEADS, HEAD_SIZE)))
    gathered = gathered_in_loop(mode)
    assert set(gathered) == {keys}
    assert len(gathered) == 2
    # Scores stay where their queries are.
    scores = [s for c in collectives(mode) for s in c.shapes if s.count(LENGTH) > 1]
    assert not [shape for shape in scores if HEADS in shape]


def num_products(step: Any) -> int:
    """Matrix products in the text of a compiled step; those in a loop count once."""
    return len(re.findall(r" dot\(", step.as_text()))


def test_weights_are_counted_without_the_network() -> None:
    """In turns there are two loops, and only one of them has the network."""
    in_turns = compiled(ONE._replace(micro_batch_size=2)).step
    assert num_products(in_turns) == num_products(compiled(ONE).step) > 10


def test_a_network_that_runs_for_its_weights_would_be_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Negative control: weights that need what the network says."""

    def weights_of_sums(losses: Any) -> Any:
        return {name: weight + 0 * total for name, (total, weight) in losses.items()}

    monkeypatch.setattr("bert_jax.train.gradients._weights", weights_of_sums)
    step = compile_step(*make_program(ONE._replace(micro_batch_size=2)))
    assert num_products(step) > num_products(compiled(ONE).step) + 5
