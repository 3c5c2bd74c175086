"""Figures for Prometheus: where they are served, and that they are written down."""

from __future__ import annotations

import re
import socket
import urllib.request
from pathlib import Path

import pytest
from prometheus_client import Counter

from onnxmesh.service.metrics import MetricsServer, process_registry

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("service", "path"),
    [
        ("gateway", "services/gateway"),
        ("scheduler", "services/scheduler"),
        ("worker", "services/worker"),
        ("compression", "onnxmesh/rpc/link"),
    ],
)
def test_metrics_are_documented_and_no_others(service, path):
    """Names in docs/metrics.md are those in the code; a counter's with the ending that Prometheus shows."""
    code = "".join(each.read_text() for each in sorted((ROOT / path).rglob("*.py")))
    named = re.findall(rf'(\w+)\(\s*"(onnxmesh_{service}_\w+)"', code)
    names = {f"{name}_total" if kind.startswith("Counter") else name for kind, name in named}
    written = set(
        re.findall(rf"^\| `(onnxmesh_{service}_\w+)` \|", (ROOT / "docs/metrics.md").read_text(), re.M)
    )
    assert names == written


def test_process_registries_are_independent():
    """What one process of a test counts is not seen in another's figures."""
    one, other = process_registry(), process_registry()
    Counter("things", "Things.", registry=one).inc()
    servers = [MetricsServer("127.0.0.1:0", registry) for registry in (one, other)]
    try:
        texts = []
        for server in servers:
            with urllib.request.urlopen(f"http://{server.address}/metrics", timeout=20) as answer:
                texts.append(answer.read().decode())
    finally:
        for server in servers:
            server.close()
    assert "things_total 1.0" in texts[0]
    assert "things" not in texts[1]
    assert all("process_cpu_seconds_total" in text for text in texts)


def test_metrics_server_listens_on_an_ipv6_address():
    """In brackets, as everywhere."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    server = MetricsServer("[::1]:0", process_registry())
    try:
        assert server.address.startswith("[::1]:")
        with urllib.request.urlopen(f"http://{server.address}/metrics", timeout=20) as answer:
            assert answer.status == 200
    finally:
        server.close()


def test_metrics_server_names_an_address_in_use():
    """The message has the address and the reason."""
    server = MetricsServer("127.0.0.1:0", process_registry())
    try:
        with pytest.raises(
            SystemExit, match=f"cannot serve metrics on {server.address}: Address already in use"
        ):
            MetricsServer(server.address, process_registry())
    finally:
        server.close()
