"""How busy this worker is."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from resource import RUSAGE_SELF, getpagesize, getrusage

from onnxmesh.v1.frame_pb2 import Load
from services.worker.stage_runner import StageRunner
from services.worker.tally import Tally

REPORT_S = 1.0
"""The load is told to everyone this often."""

_STATM = Path("/proc/self/statm")


def load_now(runners: Iterable[StageRunner], tally: Tally, resident_bytes: int) -> Load:
    """Returns the load as it is told to gateways and schedulers.

    Args:
        runners: The stages held.
        tally: What became of requests.
        resident_bytes: Memory of this process.
    """
    held = list(runners)
    return Load(
        queued=sum(runner.num_queued for runner in held),
        running=sum(runner.num_running for runner in held),
        in_flight_bytes=sum(runner.in_flight_bytes for runner in held),
        resident_bytes=resident_bytes,
        completed=tally.completed,
        dropped=tally.dropped,
        failed=tally.failed,
    )


def resident_bytes() -> int:
    """Returns the memory that this process holds now; where that cannot be had, the most it ever held."""
    try:
        return int(_STATM.read_text().split()[1]) * getpagesize()
    except (OSError, ValueError, IndexError):
        return getrusage(RUSAGE_SELF).ru_maxrss * 1024
