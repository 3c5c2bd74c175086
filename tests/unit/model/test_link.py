"""Links between devices."""

from __future__ import annotations

import pytest

from onnxmesh.model.device_speed import PICOSECONDS
from onnxmesh.model.link import LinkSpec


def test_transfer_time_is_bytes_over_bandwidth_plus_latency():
    """100 bytes at 50 bytes a second, and 0.25 s of latency."""
    assert LinkSpec(50.0, 0.25).transfer_ps(100) == round(2.25 * PICOSECONDS)
    assert LinkSpec(50.0, 0.25).transfer_ps(0) == round(0.25 * PICOSECONDS)


@pytest.mark.parametrize(("bandwidth", "latency"), [(0.0, 0.0), (-1.0, 0.0), (1.0, -0.1)])
def test_link_refuses_values_out_of_range(bandwidth, latency):
    """Bandwidth is positive, latency is not negative."""
    with pytest.raises(ValueError, match="must"):
        LinkSpec(bandwidth, latency)
