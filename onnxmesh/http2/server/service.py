"""What the connections of one server serve."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from onnxmesh.http2.protocol.limits import ConnectionLimits
from onnxmesh.http2.server.call import Call
from onnxmesh.http2.server.decompressor import Decompressor
from onnxmesh.tensors.tensor import Buffer

ADDRESS = "{address}"

DEFAULT_SPOKEN = "This port speaks gRPC over HTTP/2 without TLS: use a client of gRPC."

UnaryHandler = Callable[[Buffer, Call], Awaitable[bytes]]
"""Returns the response message of a request message; raises `MeshError` for another status than OK."""

StreamHandler = Callable[[Call], Awaitable[None]]
"""Receives the messages of a call, sends its responses, and ends it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """Handlers and limits that all connections share.

    Attributes:
        handlers: Handlers of unary calls, by path.
        fallback: Handler of every other call.
        decompressor: Compresses and decompresses large messages.
        limits: Limits of each connection.
        spoken: A sentence for clients that do not speak gRPC: what is spoken, and where. `ADDRESS` in it stands for the address that they
            have connected to.
        min_gzip_bytes: From this size on responses are compressed for clients that accept gzip; infinity: none.
    """

    handlers: Mapping[str, UnaryHandler]
    fallback: StreamHandler
    decompressor: Decompressor
    limits: ConnectionLimits
    spoken: str = DEFAULT_SPOKEN
    min_gzip_bytes: float = math.inf
