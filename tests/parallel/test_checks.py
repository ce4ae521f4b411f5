"""Checks of the devices: eight that are there, and what is wrong with them on purpose."""

from __future__ import annotations

import dataclasses

import jax
import pytest

from bert_jax.config import Config
from bert_jax.config_sections import MeshConfig, TrainConfig
from bert_jax.parallel import checks


@pytest.fixture(autouse=True)
def small_products(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "MATMUL_SIZE", 64)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_every_device_computes_right(dtype: str) -> None:
    found = checks.check_devices(dtype)
    assert [finding.check for finding in found] == [
        "devices",
        *(f"matmul {device.id}" for device in jax.devices()),
    ]
    assert all(finding.state == "ok" for finding in found)
    assert "8 x cpu" in found[0].figure
    assert all("TFLOP/s" in finding.figure for finding in found[1:])


def test_a_device_that_computes_wrong_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    right = checks.time_product

    def wrong(matrix: jax.Array) -> tuple[jax.Array, float]:
        result, seconds = right(matrix)
        (device,) = matrix.devices()
        return (result.at[3, 5].add(1) if device.id == 2 else result), seconds

    monkeypatch.setattr(checks, "time_product", wrong)
    found = checks.check_devices("float32")
    assert [finding.check for finding in found if not finding.ok] == ["matmul 2"]


def test_a_slow_accelerator_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    def timed(matrix: jax.Array) -> tuple[jax.Array, float]:
        (device,) = matrix.devices()
        return matrix @ matrix, 2.0 if device.id == 5 else 1.0

    monkeypatch.setattr(checks, "time_product", timed)
    assert all(f.state == "ok" for f in checks.check_devices("float32"))
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    found = checks.check_devices("float32")
    assert [f.check for f in found if f.state == "note"] == ["matmul 5"]


def test_no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RuntimeError("Unable to initialize backend 'tpu'")

    monkeypatch.setattr(jax, "devices", fail)
    (finding,) = checks.check_devices("float32")
    assert not finding.ok and "tpu" in finding.figure and "JAX_PLATFORMS" in finding.mend


@pytest.mark.parametrize(
    ("mesh", "rows", "told"),
    [
        (MeshConfig(), 16, ""),
        (MeshConfig(data=2, tensor=4), 16, ""),
        (MeshConfig(data=3, fsdp=3), 16, "mesh.data=-1"),
        (MeshConfig(), 12, "the nearest is"),
    ],
)
def test_the_mesh(mesh: MeshConfig, rows: int, told: str) -> None:
    config = dataclasses.replace(
        Config(), mesh=mesh, train=TrainConfig(global_batch_size=rows)
    )
    finding = checks.check_mesh(config)
    assert finding.ok == (not told)
    assert told in finding.mend
