"""Speeds of devices."""

from __future__ import annotations

import json

import pytest

from onnxmesh.model.device_speed import PICOSECONDS, DeviceSpeed


def test_node_time_is_the_sum_of_computing_moving_and_overhead():
    """2 s of arithmetic, 3 s of memory traffic, half a second of overhead."""
    speed = DeviceSpeed(flops_per_s=10.0, bytes_per_s=100.0, node_overhead_s=0.5)
    assert speed.node_ps(20, 300) == round(5.5 * PICOSECONDS)


@pytest.mark.parametrize("constants", [(0.0, 1.0, 0.0), (1.0, -1.0, 0.0), (1.0, 1.0, -1e-9)])
def test_device_speed_refuses_constants_out_of_range(constants):
    """Throughputs are positive, the overhead is not negative."""
    with pytest.raises(ValueError, match="must"):
        DeviceSpeed(*constants)


def test_device_speed_survives_plain_values():
    """As JSON too."""
    speed = DeviceSpeed(1.5e9, 2.5e9, 3e-6)
    assert DeviceSpeed.from_plain(json.loads(json.dumps(speed.to_plain()))) == speed
