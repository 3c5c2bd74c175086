"""Activations are read, and the frames that follow from them are written."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.errors import CorruptData, Overloaded
from onnxmesh.ids import WorkerId
from onnxmesh.rpc.frames.frames import Frame
from onnxmesh.v1 import frame_pb2
from services.worker.requests import outgoing_frames
from services.worker.requests.stage_request import read_request
from tests.unit.worker.stage_requests import request, tensor

TIMING = frame_pb2.HopTiming(stage="m/1/0", worker="w", queue_ns=1, compute_ns=2, wire_ns=3)


@given(
    st.dictionaries(st.text(max_size=5), st.binary(max_size=20), max_size=4),
    st.one_of(st.none(), st.floats(0, 1e6)),
)
def test_what_a_worker_sends_on_the_next_one_reads(tensors, remaining_s):
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


def test_a_clock_that_is_behind_gives_no_negative_time_on_the_wire():
    """Clocks of two hosts differ."""
    frame = outgoing_frames.activation_frame(request(), [], TIMING, now_s=0.0, unix_ns=2_000)
    assert read_request(frame, now_s=0.0, unix_ns=1_000).wire_ns == 0


def test_a_late_request_is_sent_with_nothing_left():
    """Never with a negative time."""
    frame = outgoing_frames.activation_frame(request(at_s=1.0), [], TIMING, now_s=5.0, unix_ns=1)
    assert frame.header.activation.remaining_us == 0
    assert frame.header.activation.HasField("remaining_us")


def test_payloads_are_passed_on_without_a_copy():
    """The very same buffers."""
    view = memoryview(bytes(100))
    frame = outgoing_frames.result_frame(request(), [tensor("y", view)], TIMING, unix_ns=1)
    assert frame.payloads[0] is view
    assert frame.header.result.tensors[0].byte_size == 100


@pytest.mark.parametrize(
    ("told", "says"),
    [
        (frame_pb2.Activation(hop=2, route=frame_pb2.Route(hops=[frame_pb2.Hop()] * 2)), "hop 2 of a route of 2"),
        (frame_pb2.Activation(), "hop 0 of a route of 0"),
        (
            frame_pb2.Activation(
                route=frame_pb2.Route(hops=[frame_pb2.Hop()]),
                tensors=[frame_pb2.Tensor(name="x", datatype="FP33")],
            ),
            "unknown datatype 'FP33'",
        ),
        (
            frame_pb2.Activation(
                route=frame_pb2.Route(hops=[frame_pb2.Hop()]),
                tensors=[frame_pb2.Tensor(name="x", datatype="FP32", shape=[2, -1])],
            ),
            "impossible shape [2, -1]",
        ),
    ],
)  # fmt: skip
def test_an_activation_that_makes_no_sense_is_corrupt(told, says):
    """It names what is wrong."""
    frame = Frame(frame_pb2.FrameHeader(activation=told), tuple(b"" for _ in told.tensors))
    with pytest.raises(CorruptData) as caught:
        read_request(frame, 0.0, 0)
    assert says in caught.value.message


def test_a_failure_says_who_is_at_fault_and_whether_to_try_elsewhere():
    """From the error alone."""
    told = outgoing_frames.failure_header(
        request(7).key, Overloaded("full", retry_after_s=0.25), WorkerId("z")
    ).failure
    assert (told.key.number, told.reason, told.message, told.worker) == (7, "OVERLOADED", "full", "z")
    assert told.retriable
    assert told.retry_after_ms == 250
