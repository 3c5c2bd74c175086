"""Outgoing frames: Activation, Result, Failure, and the request of a local next stage."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.errors import Overloaded
from onnxmesh.ids import WorkerId
from onnxmesh.v1 import frame_pb2
from services.worker.requests import outgoing_frames
from services.worker.requests.stage_request import read_request
from tests.unit.worker.stage_requests import request, tensor

TIMING = frame_pb2.HopTiming(stage="m/1/0", worker="w", queue_ns=1, compute_ns=2, wire_ns=3)


@given(
    st.dictionaries(st.text(max_size=5), st.binary(max_size=20), max_size=4),
    st.one_of(st.none(), st.floats(0, 1e6)),
)
def test_activation_frame_is_read_by_the_next_worker(tensors, remaining_s):
    """Names, bytes, key, deadline and trace; the hop is one further and the timing is added."""
    at_s = math.inf if remaining_s is None else 100.0 + remaining_s
    sent = request(at_s=at_s, outputs=("y",), priority=7)
    frame = outgoing_frames.activation_frame(
        sent, [tensor(name, data) for name, data in tensors.items()], TIMING, now_s=100.0, unix_ns=1_000
    )
    got = read_request(frame, now_s=500.0, unix_ns=1_700)
    assert {name: bytes(each.data) for name, each in got.tensors.items()} == tensors
    assert got.key == sent.key
    assert got.header.hop == 1
    assert got.stage == "m/1/1"
    assert got.next_hop is None
    assert list(got.header.requested_outputs) == ["y"]
    assert got.header.traceparent == "00-trace"
    assert got.header.priority == 7
    assert list(got.header.timings) == [TIMING]
    assert got.wire_ns == 700
    if remaining_s is None:
        assert math.isinf(got.deadline.at_s)
    else:
        assert got.deadline.at_s == pytest.approx(500.0 + remaining_s, abs=1e-5)


def test_activation_frame_from_a_fast_clock_has_no_negative_wire_time():
    """Clocks of two hosts differ."""
    frame = outgoing_frames.activation_frame(request(), [], TIMING, now_s=0.0, unix_ns=2_000)
    assert read_request(frame, now_s=0.0, unix_ns=1_000).wire_ns == 0


def test_activation_frame_of_a_late_request_has_no_time_left():
    """Never with a negative time."""
    frame = outgoing_frames.activation_frame(request(at_s=1.0), [], TIMING, now_s=5.0, unix_ns=1)
    assert frame.header.activation.remaining_us == 0
    assert frame.header.activation.HasField("remaining_us")


def test_result_frame_shares_the_payloads():
    """The very same buffers."""
    view = memoryview(bytes(100))
    frame = outgoing_frames.result_frame(request(), [tensor("y", view)], TIMING, unix_ns=1)
    assert frame.payloads[0] is view
    assert frame.header.result.tensors[0].byte_size == 100


def test_failure_header_has_the_worker_at_fault_and_the_retry_delay():
    """From the error alone."""
    failure = outgoing_frames.failure_header(
        request(7).key, Overloaded("full", retry_after_s=0.25), WorkerId("z")
    ).failure
    assert (failure.key.number, failure.reason, failure.message, failure.worker) == (
        7,
        "OVERLOADED",
        "full",
        "z",
    )
    assert failure.retriable
    assert failure.retry_after_ms == 250


def test_next_stage_request_keeps_the_tensors_and_advances_the_hop():
    """The same tensor objects; the time on the wire is 0."""
    y = tensor("y")
    following = outgoing_frames.next_stage_request(request(1, at_s=9.0), [y], TIMING, now_s=2.0)
    assert following.tensors["y"] is y
    assert (following.header.hop, following.stage, following.arrived_s, following.wire_ns) == (
        1,
        "m/1/1",
        2.0,
        0,
    )
    assert following.deadline.at_s == 9.0
    assert list(following.header.timings) == [TIMING]
