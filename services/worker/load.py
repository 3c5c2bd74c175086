"""How busy this worker is."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from resource import RUSAGE_SELF, getpagesize, getrusage

from onnxmesh.v1.frame_pb2 import LinkMeasurement, Load, SentTensors, StageLoad
from services.worker.requests.request_counters import RequestCounters
from services.worker.stages.stage_runner import StageRunner

REPORT_S = 1.0
"""The load is told to everyone this often."""

_STATM = Path("/proc/self/statm")


def load_now(
    runners: Iterable[StageRunner],
    tally: RequestCounters,
    resident_bytes: int,
    ways: Iterable[LinkMeasurement] = (),
    sent: Iterable[SentTensors] = (),
) -> Load:
    """Returns the load as it is told to gateways and schedulers.

    Args:
        runners: The stages held.
        tally: What became of requests.
        resident_bytes: Memory of this process.
        ways: To the workers that this one sends to.
        sent: What it sent to processes of other hosts.
    """
    held = list(runners)
    stages = [
        StageLoad(
            stage=runner.part.stage,
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
        resident_bytes=resident_bytes,
        completed=tally.completed,
        dropped=tally.dropped,
        failed=tally.failed,
        expected_wait_us=expected_wait_us(held),
        stages=stages,
        links=ways,
        sent=sent,
    )


def expected_wait_us(runners: Iterable[StageRunner]) -> int | None:
    """Returns how long all that waits and runs takes, None where a stage at work has not run anything yet."""
    wait_s = 0.0
    for runner in runners:
        num = runner.num_queued + runner.num_running
        if num:
            if not runner.mean_compute_s:
                return None
            # Stages run side by side, but on the same cores.
            wait_s += num * runner.mean_compute_s
    return round(wait_s * 1e6)


def resident_bytes() -> int:
    """Returns the memory that this process holds now; where that cannot be had, the most it ever held."""
    try:
        return int(_STATM.read_text().split()[1]) * getpagesize()
    except (OSError, ValueError, IndexError):
        return getrusage(RUSAGE_SELF).ru_maxrss * 1024
