"""The first message of a stream."""

from __future__ import annotations

import pytest

from onnxmesh.errors import CorruptData, Unavailable
from onnxmesh.rpc.frames.frames import Frame, encode_envelope
from onnxmesh.rpc.link.hello import read_hello
from onnxmesh.rpc.link.stage_stream import hello_message
from onnxmesh.v1.frame_pb2 import Cancel, FrameHeader, Hello


def test_read_hello_returns_what_hello_message_wrote():
    """Node and generation."""
    hello = Hello(node="w", generation=7)
    assert read_hello(hello_message(hello), "h:1") == hello


@pytest.mark.parametrize(
    ("message", "kind", "why"),
    [
        (None, Unavailable, "h:1 ended the stream before its Hello"),
        (b"", CorruptData, "expected a Hello from h:1 first"),
        (
            encode_envelope([Frame(FrameHeader(cancel=Cancel()))]),
            CorruptData,
            "expected a Hello from h:1 first",
        ),
        (2 * hello_message(Hello()), CorruptData, "expected a Hello from h:1 first"),
    ],
)
def test_read_hello_refuses_any_other_message(message, kind, why):
    """None, an empty one, another frame, two frames."""
    with pytest.raises(kind, match=why):
        read_hello(message, "h:1")
