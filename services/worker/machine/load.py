"""Load of this worker, as gateways, schedulers and Prometheus receive it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from resource import RUSAGE_SELF, getpagesize, getrusage

from onnxmesh.v1.frame_pb2 import LinkMeasurement, Load, SentTensors, StageLoad
from services.worker.requests.request_counters import RequestCounters
from services.worker.stages.stage_runner import StageRunner
from services.worker.stages.stage_table import StageTable

LOAD_REPORT_INTERVAL_S = 1.0
"""How often the load is published to all peers."""

_STATM = Path("/proc/self/statm")


class LoadMeter:
    """Measures the load of this worker.

    Args:
        stages: The stages held.
        counters: How requests ended.
    """

    def __init__(self, stages: StageTable, counters: RequestCounters) -> None:
        self._stages = stages
        self._counters = counters
        self._resident_bytes = resident_bytes()

    def refresh(self) -> None:
        """Reads the memory of this process again: too slow for each Result."""
        self._resident_bytes = resident_bytes()

    def load(self, links: Iterable[LinkMeasurement] = (), sent: Iterable[SentTensors] = ()) -> Load:
        """Returns the load now.

        Args:
            links: Estimates of the links to the workers that this one sends to.
            sent: Bytes sent to processes of other hosts, by encoding.
        """
        return load_of(self._stages.runners(), self._counters, self._resident_bytes, links=links, sent=sent)

    def expected_wait_us(self) -> int | None:
        """Returns the expected wait of a request that arrives now; None while a busy stage has not completed a run."""
        return expected_wait_us(self._stages.runners())


def load_of(
    runners: Iterable[StageRunner],
    counters: RequestCounters,
    memory_bytes: int,
    *,
    links: Iterable[LinkMeasurement] = (),
    sent: Iterable[SentTensors] = (),
) -> Load:
    """Returns the load of some stages.

    Args:
        runners: The stages.
        counters: How requests ended.
        memory_bytes: Resident memory of this process.
        links: Estimates of the links to the workers that this one sends to.
        sent: Bytes sent to processes of other hosts, by encoding.
    """
    held = list(runners)
    stages = [
        StageLoad(
            stage=runner.spec.stage,
            queued=runner.num_queued,
            running=runner.num_running,
            mean_compute_us=round(runner.mean_compute_s * 1e6),
        )
        for runner in held
    ]
    return Load(
        queued=sum(runner.num_queued for runner in held),
        running=sum(runner.num_running for runner in held),
        in_flight_bytes=sum(runner.in_flight_bytes for runner in held),
        resident_bytes=memory_bytes,
        completed=counters.completed,
        dropped=counters.dropped,
        failed=counters.failed,
        expected_wait_us=expected_wait_us(held),
        stages=stages,
        links=links,
        sent=sent,
    )


def expected_wait_us(runners: Iterable[StageRunner]) -> int | None:
    """Returns the compute time of all queued and running requests; None while a busy stage has not completed a run."""
    wait_s = 0.0
    for runner in runners:
        num_requests = runner.num_queued + runner.num_running
        if num_requests:
            if not runner.mean_compute_s:
                return None
            # Stages run concurrently, but on the same cores.
            wait_s += num_requests * runner.mean_compute_s
    return round(wait_s * 1e6)


def resident_bytes() -> int:
    """Returns the resident memory of this process; where that is unknown, its peak."""
    try:
        return int(_STATM.read_text().split()[1]) * getpagesize()
    except (OSError, ValueError, IndexError):
        return getrusage(RUSAGE_SELF).ru_maxrss * 1024
