"""gRPC channels and servers with the options that a mesh needs."""

from __future__ import annotations

import grpc
import grpc.aio

MAX_MESSAGE_BYTES = 2**31 - 1
"""The largest message that gRPC can carry."""

Options = list[tuple[str, int]]


def server_options(max_message_bytes: int = MAX_MESSAGE_BYTES, *, share_ports: bool = False) -> Options:
    """Options of a server: no cap on messages but the one given, and ports of its own, unless they are shared.

    Ports are shared by SO_REUSEPORT: the kernel gives each new connection to one of the processes.
    """
    return [
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", max_message_bytes),
        # Without it a second process could take the same port unnoticed.
        ("grpc.so_reuseport", int(share_ports)),
        # Peers may ping as often as `open_channel` does.
        ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
        ("grpc.keepalive_permit_without_calls", 1),
    ]


def open_channel(address: str) -> grpc.aio.Channel:
    """Returns a plaintext channel to `HOST:PORT` with a connection of its own, reconnecting fast.

    The caller closes it.
    """
    return grpc.aio.insecure_channel(
        address,
        options=[
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.initial_reconnect_backoff_ms", 100),
            # How long an attempt to connect may take: a far peer needs several round trips for it.
            ("grpc.min_reconnect_backoff_ms", 1_000),
            ("grpc.max_reconnect_backoff_ms", 1_000),
            ("grpc.keepalive_time_ms", 10_000),
            ("grpc.keepalive_timeout_ms", 5_000),
            ("grpc.keepalive_permit_without_calls", 1),
            # Addresses of a mesh are its own hosts: never through a proxy of the environment.
            ("grpc.enable_http_proxy", 0),
        ],
    )
