"""Tests of sharding need eight devices; without them they would prove nothing."""

import jax


def test_eight_cpu_devices() -> None:
    assert jax.device_count() == 8
    assert {device.platform for device in jax.devices()} == {"cpu"}
