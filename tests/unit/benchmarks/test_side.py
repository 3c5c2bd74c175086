"""Sides of a comparison run in turns, and know what their processes used."""

from __future__ import annotations

import asyncio
import io
import json
from contextlib import redirect_stdout

import grpc.aio
import numpy as np
import pytest

from benchmarks.driver import Driver, DriverFailed, serve_runs
from benchmarks.load import Client, WrongAnswer, check, request
from benchmarks.memory.mixed_load import wrong_requests
from benchmarks.side import Side, in_turns
from onnxmesh.oip import open_inference_pb2 as oip


class FakeDriver:
    """Answers two requests in each run, and writes down who ran with how many in flight."""

    def __init__(self, name, journal):
        self.name = name
        self.journal = journal

    def run(self, in_flight, seconds, warm_up_s):
        self.journal.append((self.name, in_flight))
        return {
            "requests_per_s": 2 / seconds,
            "p50_ms": 1.0,
            "p99_ms": 2.0,
            "num_requests": 2,
            "client_cpu_s": 1e-4,
        }


class FakeProcesses:
    """A process that uses a millisecond from one look to the next."""

    def __init__(self):
        self.used_s = 0.0

    def cpu_s(self):
        self.used_s += 1e-3
        return {"gateway": self.used_s}


def test_in_turns_runs_every_side_in_each_round():
    """So no side is always the one that comes after a pause."""
    journal = []
    sides = [Side("a", FakeDriver("a", journal)), Side("b", FakeDriver("b", journal), in_flight=2)]
    of_a, of_b = in_turns(sides, 8, 1.0, 3)
    assert journal == [("a", 8), ("b", 2), ("b", 2), ("a", 8), ("a", 8), ("b", 2)]
    assert len(of_a) == len(of_b) == 3


def test_side_measures_cpu_time_by_request():
    """What was used meanwhile, by the requests that were sent, those of the warm-up too."""
    run = Side("a", FakeDriver("a", []), FakeProcesses()).run(1, 1.0)
    assert run.cpu_us == {"gateway": pytest.approx(500.0)}
    assert run.client_us == pytest.approx(50.0)


def test_serve_runs_executes_one_command_a_line():
    """It reports that it is ready, and answers each command."""
    written = io.StringIO()
    with redirect_stdout(written):
        serve_runs(
            lambda *order: {"order": order},
            [json.dumps({"in_flight": 8, "seconds": 1.5, "warm_up_s": 0.5})],
        )
    assert [json.loads(line) for line in written.getvalue().splitlines()] == [
        {"ready": True},
        {"order": [8, 1.5, 0.5]},
    ]


def test_driver_reports_the_last_line_of_a_program_that_ended():
    """The error has the reason that the program printed."""
    with pytest.raises(DriverFailed, match=r"benchmarks.load ended: .*required: --address"):
        Driver("benchmarks.load")


def answer(*values):
    return oip.ModelInferResponse(
        raw_output_contents=[np.array(values, np.float32).tobytes()]
    ).SerializeToString()


def test_client_checks_responses():
    """Another value or another size is no answer; what rounding explains is."""
    expected = np.array([[1.0, 2.0]], np.float32)
    check(answer(1.0, 2.00001), expected)
    with pytest.raises(WrongAnswer, match="differs from ONNX Runtime's by up to 1"):
        check(answer(1.0, 3.0), expected)
    with pytest.raises(WrongAnswer, match="expected an output of 2 values, got 1"):
        check(answer(1.0), expected)
    with pytest.raises(WrongAnswer, match="expected one raw output, got 0"):
        check(oip.ModelInferResponse().SerializeToString(), expected)


class FakeServer:
    """Answers twice as it should, and then as it is expected_error to."""

    def __init__(self, then):
        self.then = then
        self.num_calls = 0

    async def __call__(self, body, timeout):
        await asyncio.sleep(0)
        self.num_calls += 1
        if self.num_calls <= 2:
            return answer(1.0, 2.0)
        if isinstance(self.then, Exception):
            raise self.then
        return self.then


@pytest.mark.parametrize(
    ("then", "expected_error"),
    [
        (answer(1.0), "expected an answer of 10 bytes, got 6"),
        (
            grpc.aio.AioRpcError(
                grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata(), "no worker"
            ),
            "UNAVAILABLE: no worker",
        ),
    ],
    ids=["size", "error"],
)
async def test_client_stops_at_a_wrong_response(then, expected_error):
    """One of another size or an error ends a run, whatever else is in flight, and is expected_error in one line."""
    client = Client([FakeServer(then)], b"", np.array([[1.0, 2.0]], np.float32))
    await client.first()
    with pytest.raises(WrongAnswer, match=expected_error):
        await client.run(4, 60.0, 0.0)


def test_wrong_requests_differ_from_the_valid_one():
    """Each has its own error."""
    good = request("identity", {"INPUT": np.zeros((1, 16), np.float32)})
    assert len({good, *wrong_requests(good).values()}) == 5
