"""The load of a worker."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from onnxmesh.v1.frame_pb2 import SentTensors
from services.worker.machine.load import load_of, resident_bytes
from services.worker.requests.request_counters import RequestCounters


@dataclass
class Spec:
    stage: str


@dataclass
class Runner:
    """The measurements of a running stage."""

    stage: str
    num_queued: int
    num_running: int
    mean_compute_s: float
    in_flight_bytes: int = 10

    @property
    def spec(self):
        return Spec(self.stage)


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
def test_load_has_the_expected_wait(runners, wait_us):
    """All queued and running requests at the mean time of their stage; None where a busy stage has no mean."""
    load = load_of(runners, RequestCounters(), 5)
    assert (load.expected_wait_us if load.HasField("expected_wait_us") else None) == wait_us
    assert [(stage.stage, stage.queued, stage.running) for stage in load.stages] == [
        (runner.stage, runner.num_queued, runner.num_running) for runner in runners
    ]
    assert (load.queued, load.resident_bytes) == (sum(runner.num_queued for runner in runners), 5)


def test_load_has_the_bytes_sent_to_other_hosts():
    """As the compressor counted them; by default none."""
    sent = [SentTensors(peer="b", encoding="zstd", tensor_bytes=100, wire_bytes=40)]
    assert list(load_of([], RequestCounters(), 5, sent=sent).sent) == sent
    assert not load_of([], RequestCounters(), 5).sent


def test_resident_bytes_is_the_memory_of_this_process():
    """Between a megabyte and the memory of the machine."""
    assert 1 << 20 < resident_bytes() < 1 << 45
