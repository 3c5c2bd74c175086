"""Traces of requests, and of those that were split."""

from __future__ import annotations

import json

from onnxmesh.v1.frame_pb2 import HopTiming
from services.gateway.requests.trace import Trace


def timing(worker="a", **fields):
    return HopTiming(stage="m/1/0", worker=worker, **fields)


def test_trace_of_a_result_returns_no_negative_time():
    """The clock of the last worker may be ahead of this gateway's."""
    ahead, behind = (
        Trace.of(0.5, 2, [timing()], sent_unix_ns=sent, received_unix_ns=5_000) for sent in (9_000, 2_000)
    )
    assert (ahead.total_us, ahead.attempts, ahead.return_us, behind.return_us) == (500_000, 2, 0, 3.0)


def test_merged_trace_combines_every_field_of_a_timing():
    """Sums of computing, rows and bytes; the largest of the others; the worker of the first micro-batch."""
    first = timing(
        queue_ns=5,
        compute_ns=10,
        wire_ns=1,
        batch=1,
        expected_wait_us=7,
        rows=8,
        tensor_bytes=100,
        plain_bytes=64,
        wire_bytes=32,
    )
    second = timing(
        "b",
        queue_ns=3,
        compute_ns=20,
        wire_ns=9,
        batch=4,
        expected_wait_us=2,
        rows=6,
        tensor_bytes=50,
        plain_bytes=16,
        wire_bytes=8,
    )
    traces = [
        Trace.of(1.0, index, [each], sent_unix_ns=0, received_unix_ns=index)
        for index, each in enumerate((first, second), 1)
    ]
    trace = Trace.merged(3.0, traces)
    assert trace.hops == (
        timing(
            queue_ns=5,
            compute_ns=30,
            wire_ns=9,
            batch=4,
            expected_wait_us=7,
            rows=14,
            tensor_bytes=150,
            plain_bytes=80,
            wire_bytes=40,
        ),
    )
    assert {field.name for field, _ in trace.hops[0].ListFields()} == {
        field.name for field in HopTiming.DESCRIPTOR.fields
    }
    assert (trace.total_us, trace.attempts, trace.return_us, trace.num_micro_batches) == (3e6, 2, 0.002, 2)
    assert first.compute_ns == 10


def test_merged_trace_has_no_expected_wait_where_no_micro_batch_has_one():
    """A wait of zero is a measurement, too."""
    without, zero = timing(), timing(expected_wait_us=0)
    merged = [
        Trace.merged(1.0, [Trace.of(1.0, 1, [each], sent_unix_ns=0, received_unix_ns=0)] * 2)
        for each in (without, zero)
    ]
    assert [each.hops[0].HasField("expected_wait_us") for each in merged] == [False, True]


def test_to_json_has_the_bytes_of_compressed_tensors():
    """Also of a request that was split."""
    hop = timing(plain_bytes=64, wire_bytes=32, compute_ns=1500)
    trace = Trace.of(0.0, 1, [hop], sent_unix_ns=0, received_unix_ns=0)
    document = json.loads(Trace.merged(0.0, [trace, trace]).to_json())
    assert document["pieces"] == 2
    (shown,) = document["hops"]
    assert (shown["plain_bytes"], shown["wire_bytes"], shown["compute_us"], shown["batch"]) == (
        128,
        64,
        3.0,
        1,
    )
