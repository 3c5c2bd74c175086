"""What workers say of their load, told to the policy."""

from __future__ import annotations

from random import Random

from onnxmesh.ids import WorkerId
from onnxmesh.routing.balancer import Balancer
from onnxmesh.routing.stage_board import Origin
from onnxmesh.v1.frame_pb2 import HopTiming
from services.gateway.routes.worker_loads import report_waits


def test_every_answer_tells_what_waits_at_each_hop():
    """Of workers that are still there, and where it was measured: nothing else is made up."""
    balancer = Balancer(Origin("g"), Random(1))
    timings = [
        HopTiming(worker="a", expected_wait_us=20_000),
        HopTiming(worker="b"),
        HopTiming(worker="gone", expected_wait_us=5),
    ]
    for worker in "ab":
        balancer.workers.slot(WorkerId(worker))
    report_waits(balancer, timings, {WorkerId("a"), WorkerId("b")}, 3.0)
    others_s = [balancer.workers.others_s[balancer.workers.slot(WorkerId(each))] for each in "ab"]
    assert others_s == [0.02, 0.0]
    assert "gone" not in balancer.workers._slots
