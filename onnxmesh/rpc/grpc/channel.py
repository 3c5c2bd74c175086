"""Options of the mesh's gRPC servers, and channels to them."""

from __future__ import annotations

import grpc
import grpc.aio

MAX_MESSAGE_BYTES = 2**31 - 1
"""The largest message that gRPC can carry."""

Options = list[tuple[str, int]]


def server_options(max_message_bytes: int = MAX_MESSAGE_BYTES, *, share_ports: bool = False) -> Options:
    """Returns the options of a server.

    Args:
        max_message_bytes: Limit of a message, in both directions.
        share_ports: Whether several processes listen on one port by SO_REUSEPORT: the kernel distributes connections.
    """
    return [
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", max_message_bytes),
        # By default a second process could listen on the same port unnoticed.
        ("grpc.so_reuseport", int(share_ports)),
        # Peers may ping as often as `open_channel` does.
        ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
        ("grpc.keepalive_permit_without_calls", 1),
    ]


def open_channel(address: str) -> grpc.aio.Channel:
    """Returns a plaintext channel to `HOST:PORT` with its own connection and fast reconnects. The caller closes it."""
    return grpc.aio.insecure_channel(
        address,
        options=[
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.initial_reconnect_backoff_ms", 100),
            # Limit of one attempt to connect, which takes several round trips.
            ("grpc.min_reconnect_backoff_ms", 1_000),
            ("grpc.max_reconnect_backoff_ms", 1_000),
            ("grpc.keepalive_time_ms", 10_000),
            ("grpc.keepalive_timeout_ms", 5_000),
            ("grpc.keepalive_permit_without_calls", 1),
            # Processes of a mesh are never reached through an HTTP proxy.
            ("grpc.enable_http_proxy", 0),
        ],
    )
