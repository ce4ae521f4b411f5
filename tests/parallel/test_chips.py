"""Names of devices to plan for."""

from __future__ import annotations

import math

import pytest

from bert_jax.parallel.chips import TPU_CHIPS, device_names, parse_target
from bert_jax.parallel.environment import environment_for


@pytest.mark.parametrize(
    ("name", "num_chips", "num_devices", "topology"),
    [
        ("cpu", 1, 1, ""),
        ("cpu-8", 8, 8, ""),
        ("gpu:h200", 1, 1, ""),
        ("gpu:a100-16", 16, 16, ""),
        ("tpu:v5e-1", 1, 1, "v5e:1x1"),
        ("tpu:v5e-8", 8, 8, "v5e:2x4"),
        ("tpu:v6e-256", 256, 256, "v6e:16x16"),
        # Cloud counts the cores of these: two to a chip.
        ("tpu:v4-8", 4, 4, "v4:2x2x1"),
        ("tpu:v4-128", 64, 64, "v4:4x4x4"),
        ("tpu:v5p-4096", 2048, 2048, "v5p:8x16x16"),
        # And of these each core is a device.
        ("tpu:v3-32", 16, 32, "v3:4x4"),
    ],
)
def test_names_as_they_are_sold(
    name: str, num_chips: int, num_devices: int, topology: str
) -> None:
    target = parse_target(name)
    assert (target.num_chips, target.num_devices) == (num_chips, num_devices)
    assert target.topology == topology


def test_every_known_name_is_read_and_every_slice_has_its_chips() -> None:
    names = device_names()
    assert len(names) == len(set(names))
    for name in names:
        target = parse_target(name)
        assert target.name == name
        if target.topology:
            shape = target.topology.partition(":")[2].split("x")
            assert math.prod(map(int, shape)) == target.num_chips, name


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("tpu:v5e-7", "tpu:v5e-"),
        ("tpu:v5e", "tpu:v5e-1 "),
        ("tpu:v5litepod-8", "tpu:v5e-8 "),
        ("tpu:v4-4", "tpu:v4-"),
        ("gpu:h20", "gpu:h200 "),
        ("gpu:h200-3", "gpu:h200-2 "),
        ("tpu:v5e-3", "tpu:v5e-4 "),
        ("cpu-x", "cpu"),
        ("cpu:2", "cpu"),
        ("TPU:V5E-8", "tpu:v5e-8 "),
    ],
)
def test_unknown_ones_are_one_line_with_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(ValueError, match=f"--device={name} must be") as error:
        parse_target(name)
    (line,) = str(error.value).splitlines()
    assert f"the nearest is {nearest}" in line


def test_peaks_grow_with_each_generation_of_a_line() -> None:
    peak = {chip.name: chip.flops_per_second for chip in TPU_CHIPS}
    assert peak["v2"] < peak["v3"] < peak["v4"] < peak["v5p"]
    assert peak["v5e"] < peak["v6e"]


def test_more_devices_than_fakes_can_stand_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bert_jax.parallel.environment.has_tpu_compiler", lambda: False)
    assert environment_for(parse_target("tpu:v5e-256"))["JAX_NUM_CPU_DEVICES"] == "256"
    with pytest.raises(ValueError, match="--device=tpu:v4-4096 must have at most 256"):
        environment_for(parse_target("tpu:v4-4096"))
