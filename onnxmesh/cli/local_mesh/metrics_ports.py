"""Ports of the metrics of an embedded mesh: a block of free ones, which services keep when they are restarted."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import ExitStack

from onnxmesh.errors import Unavailable

FIRST_PORT = 9464
"""Where the block begins if it is free: the default port of OpenTelemetry's exporter for Prometheus."""

_HOST = "127.0.0.1"
_LAST_PORT = 32_000
"""Above are the ports that the kernel gives to connections."""


def metrics_addresses(names: Sequence[str], first: int = FIRST_PORT) -> dict[str, str]:
    """Returns HOST:PORT of the metrics of each service, by name: ports that follow each other.

    A port may be taken by another process before the service opens it; the service then ends with an error.

    Raises:
        Unavailable: There is no block of free ports (UNAVAILABLE).
    """
    start = first
    while start + len(names) <= _LAST_PORT:
        taken = _first_taken(range(start, start + len(names)))
        if taken is None:
            return {name: f"{_HOST}:{start + number}" for number, name in enumerate(names)}
        start = taken + 1
    raise Unavailable(f"no {len(names)} consecutive ports from {first} to {_LAST_PORT} are free for metrics")


def _first_taken(ports: range) -> int | None:
    with ExitStack() as stack:
        for port in ports:
            probe = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            # As the server of the metrics does.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((_HOST, port))
                # With that option, only a listener notices another one.
                probe.listen()
            except OSError:
                return port
    return None
