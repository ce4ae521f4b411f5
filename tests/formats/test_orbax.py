"""Checkpoints as files: what goes in comes out, and what is half there does not count."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from bert_jax.formats.orbax import (
    FORMAT_VERSION,
    CheckpointStore,
    check_hashes,
    load_params,
    newest_record,
)


class Moments(NamedTuple):
    mu: Any
    count: Any


def make_state(scale: float = 1.0) -> tuple[Any, Any]:
    """Parameters and a state of an optimizer, with classes that files do not know."""
    params = {
        "a": {"kernel": scale * jnp.arange(32.0).reshape(8, 4)},
        "b": jnp.ones(8, jnp.bfloat16),
    }
    mu = jax.tree.map(lambda x: x + 1, params)
    return params, (Moments(mu, jnp.int32(7)), ())


def save(directory: Path, steps: list[int], *, keep: int = 9) -> None:
    with CheckpointStore(directory, keep=keep) as store:
        for step in steps:
            store.save(step, *make_state(step), {"name": "x", "step": step})
        store.wait()


def abstract(tree: Any, sharding: Any) -> Any:
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), tree
    )


def place(num_devices: int) -> NamedSharding:
    mesh = jax.make_mesh(
        (num_devices,), ("x",), (AxisType.Auto,), devices=jax.devices()[:num_devices]
    )
    return NamedSharding(mesh, PartitionSpec())


@pytest.mark.parametrize("num_devices", [1, 4])
def test_round_trip(tmp_path: Path, num_devices: int) -> None:
    save(tmp_path / "c", [3, 5])
    sharding = place(num_devices)
    params, optimizer = make_state(3)
    with CheckpointStore(tmp_path / "c", keep=9) as store:
        assert store.latest_step() == 5
        found = store.restore(3, abstract(params, sharding), abstract(optimizer, sharding))
        meta = store.meta(3)
    assert jax.tree.structure(found) == jax.tree.structure((params, optimizer))
    for a, b in zip(
        jax.tree.leaves((params, optimizer)), jax.tree.leaves(found), strict=True
    ):
        np.testing.assert_array_equal(a, b)
        assert (b.dtype, b.sharding) == (a.dtype, sharding)
    assert meta == {"format_version": FORMAT_VERSION, "name": "x", "step": 3}


def test_parameters_alone_come_as_numpy(tmp_path: Path) -> None:
    save(tmp_path / "c", [3, 5])
    step, params, meta = load_params(tmp_path / "c")
    assert (step, meta["step"]) == (5, 5)
    kernel = params["a"]["kernel"]
    assert isinstance(kernel, np.ndarray)
    np.testing.assert_array_equal(kernel, 5 * np.arange(32.0).reshape(8, 4))
    assert params["b"].dtype == jnp.bfloat16


def test_a_save_that_goes_on_keeps_the_values_of_its_step(tmp_path: Path) -> None:
    """The arrays may be donated to the next step as soon as `save` has returned."""
    add_one = jax.jit(lambda x: x + 1.0, donate_argnums=0)
    x = jnp.zeros((2048, 1024), jnp.float32)
    with CheckpointStore(tmp_path / "c", keep=9) as store:
        for step in range(1, 9):
            x = add_one(x)
            if step % 2 == 0:
                store.save(step, {"x": x}, {"y": x}, {})
        store.wait()
        shape = abstract({"x": x}, place(1))
        for step in (2, 4, 6, 8):
            params, optimizer = store.restore(step, shape, {"y": shape["x"]})
            for array in (params["x"], optimizer["y"]):
                assert (np.min(array), np.max(array)) == (step, step)


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    save(tmp_path / "c", [1, 2, 3, 4], keep=2)
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == ["3", "4"]


def test_a_half_written_checkpoint_does_not_count(tmp_path: Path) -> None:
    save(tmp_path / "c", [1])
    half = tmp_path / "c" / "2.orbax-checkpoint-tmp"
    (half / "params").mkdir(parents=True)
    with CheckpointStore(tmp_path / "c", keep=9) as store:
        assert store.latest_step() == 1
        store.save(2, *make_state(2), {})
        store.wait()
    assert load_params(tmp_path / "c")[0] == 2


def test_reading_leaves_a_save_in_flight_alone(tmp_path: Path) -> None:
    save(tmp_path / "c", [1, 7])
    half = tmp_path / "c" / "8.orbax-checkpoint-tmp" / "params"
    half.mkdir(parents=True)
    (half / "array").write_text("half of it")
    before = sorted((p, p.stat().st_mtime_ns) for p in (tmp_path / "c").rglob("*"))
    assert load_params(tmp_path / "c")[0] == 7
    newest = newest_record(tmp_path / "c")
    assert newest is not None
    assert (newest[0], newest[1]["step"]) == (7, 7)
    assert sorted((p, p.stat().st_mtime_ns) for p in (tmp_path / "c").rglob("*")) == before


def test_hashes_are_compared() -> None:
    meta = {"tokenizer_sha256": "a" * 64, "data_sha256": "b" * 64}
    check_hashes(3, meta, tokenizer_sha256="a" * 64)
    with pytest.raises(
        ValueError, match=r"^checkpoint 3 has data_sha256=b{12}…; .* c{12}…"
    ):
        check_hashes(3, meta, tokenizer_sha256="a" * 64, data_sha256="c" * 64)


@pytest.mark.parametrize("exists", [True, False])
def test_no_checkpoint_is_one_line(tmp_path: Path, exists: bool) -> None:
    if exists:
        (tmp_path / "c").mkdir()
    with pytest.raises(ValueError, match=r"c has no checkpoint; train first$"):
        load_params(tmp_path / "c")
    assert newest_record(tmp_path / "c") is None
    assert (tmp_path / "c").exists() == exists


def test_unknown_format_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "c", [1])
    path = tmp_path / "c" / "1" / "meta" / "metadata"
    values = json.loads(path.read_text())
    assert values["format_version"] == FORMAT_VERSION
    path.write_text(json.dumps({**values, "format_version": 99}))
    with pytest.raises(ValueError, match=r"^checkpoint 1: format_version=99 must be 1; "):
        load_params(tmp_path / "c")
