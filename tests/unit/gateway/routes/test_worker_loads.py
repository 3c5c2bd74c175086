"""Reports of workers and timings of hops, applied to the balancer."""

from __future__ import annotations

from random import Random

from onnxmesh.ids import WorkerId
from onnxmesh.routing.balancer import Balancer
from onnxmesh.routing.stage_board import Origin
from onnxmesh.v1.frame_pb2 import HopTiming
from services.gateway.routes.worker_loads import report_waits


def test_report_waits_applies_the_expected_wait_of_each_known_worker():
    """Where the timing has one."""
    balancer = Balancer(Origin("g"), Random(1))
    timings = [
        HopTiming(worker="a", expected_wait_us=20_000),
        HopTiming(worker="b"),
        HopTiming(worker="removed", expected_wait_us=5),
    ]
    for worker in "ab":
        balancer.workers.slot(WorkerId(worker))
    report_waits(balancer, timings, {WorkerId("a"), WorkerId("b")}, 3.0)
    others_s = [balancer.workers.others_s[balancer.workers.slot(WorkerId(each))] for each in "ab"]
    assert others_s == [0.02, 0.0]
    assert "removed" not in balancer.workers._slots
