"""What workers report of their load, told to the policy."""

from __future__ import annotations

from collections.abc import Container, Iterable

from onnxmesh.ids import StageKey, WorkerId
from onnxmesh.routing.balancer import Balancer, Ticket
from onnxmesh.v1.frame_pb2 import HopTiming, Load


def report_load(balancer: Balancer, worker: WorkerId, load: Load, now_s: float) -> None:
    """Takes a worker's report."""
    compute_s = {StageKey(stage.stage): stage.mean_compute_us / 1e6 for stage in load.stages}
    if load.HasField("expected_wait_us"):
        work_s = load.expected_wait_us / 1e6
    else:
        # Nothing has run there yet: all one knows is how many wait.
        work_s = (load.queued + load.running) * balancer.settings.nominal_s
    balancer.observe_report(worker, work_s, compute_s, now_s)


def report_waits(
    balancer: Balancer, timings: Iterable[HopTiming], known: Container[WorkerId], now_s: float
) -> None:
    """Takes what the hops of an answered request, which is no part of it any more, said of their workers' work.

    Args:
        balancer: Is told.
        timings: What the hops said.
        known: Workers that are still there.
        now_s: The time.
    """
    for timing in timings:
        worker = WorkerId(timing.worker)
        if timing.HasField("expected_wait_us") and worker in known:
            balancer.observe_report(worker, timing.expected_wait_us / 1e6, {}, now_s)


def report_timings(
    balancer: Balancer, timings: Iterable[HopTiming], ticket: Ticket, now_s: float
) -> dict[WorkerId, StageKey]:
    """Takes what the hops of an answered request measured; returns the replicas that this ejects."""
    ejected = {}
    for timing in timings:
        worker, stage = WorkerId(timing.worker), StageKey(timing.stage)
        # Requests that ran together share the time that it took, as in a worker's own means.
        own_s = timing.compute_ns / max(1, timing.batch) / 1e9
        # Time on the wire is told by two clocks, which may differ by more than it is.
        balancer.observe_wait(ticket, stage, timing.queue_ns / 1e9)
        if balancer.observe_answer(stage, worker, own_s, now_s) is not None:
            ejected[worker] = stage
    return ejected
