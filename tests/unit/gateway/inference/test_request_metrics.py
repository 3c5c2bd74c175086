"""Prometheus metrics of requests."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from onnxmesh.errors import Overloaded
from onnxmesh.routing.table.table import RoutingTable
from onnxmesh.v1.mesh_pb2 import RouteTable
from services.gateway.inference.request_metrics import RequestMetrics
from tests.fakes.routed_models import routed_model

MODEL = RoutingTable.from_proto(RouteTable(models=[routed_model([[("a", "a:1")]])])).models["m", 1]
REQUESTS = "onnxmesh_gateway_requests_total"
DURATION = "onnxmesh_gateway_request_duration_seconds"


class Bench:
    """Metrics on a clock that a test advances."""

    def __init__(self):
        self.now_s = 1.0
        self.registry = CollectorRegistry()
        self.metrics = RequestMetrics(self.registry, lambda: self.now_s)

    def run(self, model, seconds, error=None):
        with self.metrics.measure() as measurement:
            measurement.model = model
            self.now_s += seconds
            if error is not None:
                raise error

    def value(self, name, **labels):
        return self.registry.get_sample_value(name, labels)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (None, "OK"),
        (Overloaded("full"), "RESOURCE_EXHAUSTED"),
        (asyncio.CancelledError(), "CANCELLED"),
        (KeyError("defect"), "INTERNAL"),
    ],
)
def test_request_metrics_count_a_request_by_its_status(error, code):
    """Under the status that the client gets; the error is raised further."""
    bench = Bench()
    for _ in range(2):
        if error is None:
            bench.run(MODEL, 0.03)
        else:
            with pytest.raises(type(error)):
                bench.run(MODEL, 0.03, error)
    assert bench.value(REQUESTS, model="m", version="1", code=code) == 2
    assert bench.value(f"{DURATION}_count", model="m", version="1") == 2
    assert bench.value(f"{DURATION}_bucket", model="m", version="1", le="0.05") == 2
    assert bench.value(f"{DURATION}_bucket", model="m", version="1", le="0.02") == 0


def test_request_metrics_have_one_series_for_all_unknown_models():
    """Whatever names clients make up, the number of series stays."""
    bench = Bench()
    for _ in range(5):
        with pytest.raises(Overloaded):
            bench.run(None, 0.0, Overloaded("full"))
    assert bench.value(REQUESTS, model="", version="", code="RESOURCE_EXHAUSTED") == 5


def test_remove_drops_the_series_of_a_model():
    """One that is deployed again begins at zero; others stay."""
    bench = Bench()
    bench.run(MODEL, 0.1)
    bench.metrics.remove([("other", 1), ("m", 1)])
    assert bench.value(REQUESTS, model="m", version="1", code="OK") is None
    assert bench.value(f"{DURATION}_count", model="m", version="1") is None
    bench.run(MODEL, 0.1)
    assert bench.value(REQUESTS, model="m", version="1", code="OK") == 1
