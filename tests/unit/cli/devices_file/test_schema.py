"""The fields of devices.yaml as a cluster."""

from __future__ import annotations

from onnxmesh.cli.devices_file.read_devices import parse_devices
from onnxmesh.model.device_speed import DeviceSpeed
from onnxmesh.model.link import LinkSpec

WHOLE = """\
kinds:
  - name: box
    count: 4
    memory_gb: 3.5
    gflops_per_s: 12
    memory_gb_per_s: 4
    node_overhead_us: 6
    profile: cpu-arm
  - name: server
links:
  - between: [box, server]
    bandwidth_mbit_per_s: 80
    latency_ms: 6
  - between: [box, box]
    bandwidth_gbit_per_s: 1
default_link: {bandwidth_gbit_per_s: 16, latency_ms: 0}
"""


def test_schema_converts_fields_to_the_units_of_the_planner():
    """GB are 10^9 bytes, links count bits; what is left out has the defaults of the planner."""
    cluster = parse_devices(WHOLE, "d.yaml")
    box, server = cluster.kinds
    assert (box.name, box.count, box.memory_bytes, box.profile) == ("box", 4, 3_500_000_000, "cpu-arm")
    assert box.speed == DeviceSpeed(12e9, 4e9, 6 * 1e-6)
    assert (server.count, server.memory_bytes, server.speed) == (1, None, DeviceSpeed())
    assert cluster.link("server", "box") == LinkSpec(10e6, 6e-3)
    assert cluster.link("box", "box") == LinkSpec(125e6, LinkSpec().latency_s)
    assert cluster.link("server", "server") == LinkSpec(2e9, 0.0)


def test_schema_without_links_has_the_default_link():
    """The default link is the planner's."""
    assert parse_devices("kinds: [{name: a}]", "d.yaml").link("a", "a") == LinkSpec()
