"""Why a connection failed."""

from __future__ import annotations

import pytest

from onnxmesh.rpc.grpc.connection_reasons import connection_reason


@pytest.mark.parametrize(
    ("details", "reason"),
    [
        (
            "failed to connect to all addresses; last error: ipv4:127.0.0.1:9: Connection refused",
            "nothing listens there",
        ),
        (
            "Failed parsing HTTP/2 (Expected SETTINGS frame as the first frame)",
            "what listens there does not speak gRPC",
        ),
        (
            "recvmsg:Connection reset by peer (104)",
            "what listens there closes the connection; it may expect another protocol, such as TLS",
        ),
        ("address lookup failed for h:1: Domain name not found", "there is no host of that name"),
        ("DNS resolution failed for h:1", "the name of the host cannot be resolved"),
        (
            "connection attempt timed out before receiving SETTINGS frame",
            "what listens there does not speak gRPC",
        ),
        ("Failed to connect to remote host: Connection timed out", "the connection timed out"),
        ("Failed to connect to remote host: No route to host", "there is no route to that host"),
        ("another text", ""),
        ("", ""),
    ],
)
def test_grpcs_texts_are_put_into_words(details, reason):
    """A text that is not known has none."""
    assert connection_reason(details) == reason
