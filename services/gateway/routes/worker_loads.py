"""Reports of workers and timings of hops, applied to the balancer."""

from __future__ import annotations

from collections.abc import Container, Iterable

from onnxmesh.ids import StageKey, WorkerId
from onnxmesh.routing.balancer import Balancer, Ticket
from onnxmesh.v1.frame_pb2 import HopTiming, Load


def report_load(balancer: Balancer, worker: WorkerId, load: Load, now_s: float) -> None:
    """Applies a worker's report of its load."""
    compute_s = {StageKey(stage.stage): stage.mean_compute_us / 1e6 for stage in load.stages}
    if load.HasField("expected_wait_us"):
        work_s = load.expected_wait_us / 1e6
    else:
        # No stage has run there yet: only the number of waiting requests is known.
        work_s = (load.queued + load.running) * balancer.settings.nominal_s
    balancer.observe_report(worker, work_s, compute_s, now_s)


def report_waits(
    balancer: Balancer, timings: Iterable[HopTiming], known: Container[WorkerId], now_s: float
) -> None:
    """Applies the expected waits of workers from the timings of an answered request, whose own work has ended.

    Args:
        balancer: Keeps the work ahead at each worker.
        timings: Of the hops of the request.
        known: Workers that are in the route table.
        now_s: The time.
    """
    for timing in timings:
        worker = WorkerId(timing.worker)
        if timing.HasField("expected_wait_us") and worker in known:
            balancer.observe_report(worker, timing.expected_wait_us / 1e6, {}, now_s)


def report_timings(
    balancer: Balancer, timings: Iterable[HopTiming], ticket: Ticket, now_s: float
) -> dict[WorkerId, StageKey]:
    """Applies the measured times of the hops of an answered request; returns the replicas that this ejects."""
    ejected = {}
    for timing in timings:
        worker, stage = WorkerId(timing.worker), StageKey(timing.stage)
        # Requests that ran together share the time of the run, as in a worker's own means.
        own_s = timing.compute_ns / max(1, timing.batch) / 1e9
        # The time on the wire is the difference of two clocks, which may be further apart than it is long.
        balancer.observe_wait(ticket, stage, timing.queue_ns / 1e9)
        if balancer.observe_answer(stage, worker, own_s, now_s) is not None:
            ejected[worker] = stage
    return ejected
