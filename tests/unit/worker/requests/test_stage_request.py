"""Requests read from Activations."""

from __future__ import annotations

import math

import pytest

from onnxmesh.errors import CorruptData
from onnxmesh.rpc.frames.frames import Frame
from onnxmesh.rpc.link_policy.credits import Credit
from onnxmesh.v1 import frame_pb2
from services.worker.requests.stage_request import read_request
from tests.unit.worker.stage_requests import request, tensor


@pytest.mark.parametrize(
    ("header", "message"),
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
def test_read_request_refuses_a_malformed_activation(header, message):
    """The message names the fault."""
    frame = Frame(frame_pb2.FrameHeader(activation=header), tuple(b"" for _ in header.tensors))
    with pytest.raises(CorruptData) as caught:
        read_request(frame, 0.0, 0)
    assert message in caught.value.message


def test_read_request_without_a_remaining_time_has_no_deadline():
    """And without a send time no time on the wire."""
    header = frame_pb2.Activation(route=frame_pb2.Route(hops=[frame_pb2.Hop(stage="m/1/0")]))
    got = read_request(Frame(frame_pb2.FrameHeader(activation=header), ()), 5.0, 1_000)
    assert math.isinf(got.deadline.at_s)
    assert (got.arrived_s, got.wire_ns, got.next_hop) == (5.0, 0, None)


def test_stage_request_knows_its_hops_and_returns_its_credit():
    """The bytes are those of all tensors."""
    returned = []
    it = request(
        1,
        hop=0,
        tensors={"a": tensor("a", b"12"), "b": tensor("b", b"345")},
        credit=Credit(lambda: returned.append(1)),
    )
    assert (it.stage, it.next_hop.stage, it.num_bytes) == ("m/1/0", "m/1/1", 5)
    it.return_credit()
    it.return_credit()
    assert returned == [1]
