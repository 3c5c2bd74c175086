"""What a worker tells of its load."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from onnxmesh.v1.frame_pb2 import SentTensors
from services.worker.machine.load import load_now
from services.worker.requests.request_counters import RequestCounters


@dataclass
class Part:
    stage: str


@dataclass
class Runner:
    """The figures of a stage at work."""

    stage: str
    num_queued: int
    num_running: int
    mean_compute_s: float
    in_flight_bytes: int = 10

    @property
    def part(self):
        return Part(self.stage)


@pytest.mark.parametrize(
    ("runners", "wait_us"),
    [
        ([], 0),
        ([Runner("m/1/0", 0, 0, 0.0)], 0),
        ([Runner("m/1/0", 3, 1, 0.01)], 40_000),
        ([Runner("m/1/0", 3, 1, 0.01), Runner("n/1/0", 0, 1, 0.5)], 540_000),
        ([Runner("m/1/0", 3, 1, 0.01), Runner("n/1/0", 0, 1, 0.0)], None),
    ],
    ids=["no stage", "idle and never run", "one stage", "two stages share the cores", "one has not run yet"],
)
def test_the_expected_wait(runners, wait_us):
    """All that is queued and running, at the mean time of its stage; unknown where one at work was never timed."""
    load = load_now(runners, RequestCounters(), 5)
    assert (load.expected_wait_us if load.HasField("expected_wait_us") else None) == wait_us
    assert [(stage.stage, stage.queued, stage.running) for stage in load.stages] == [
        (runner.stage, runner.num_queued, runner.num_running) for runner in runners
    ]
    assert (load.queued, load.resident_bytes) == (sum(runner.num_queued for runner in runners), 5)


def test_what_was_sent_to_other_hosts_is_told():
    """As the compressor counted it; where nothing is said of it, nothing is told."""
    sent = [SentTensors(peer="b", encoding="zstd", tensor_bytes=100, wire_bytes=40)]
    assert list(load_now([], RequestCounters(), 5, sent=sent).sent) == sent
    assert not load_now([], RequestCounters(), 5).sent
