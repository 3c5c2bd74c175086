"""What the connections of one server serve."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from onnxmesh.http2.protocol.limits import ConnectionLimits
from onnxmesh.http2.server.call import Call
from onnxmesh.http2.server.decompressor import Decompressor
from onnxmesh.tensors.tensor import Buffer

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
        decompressor: Decompresses large messages.
        limits: Limits of each connection.
    """

    handlers: Mapping[str, UnaryHandler]
    fallback: StreamHandler
    decompressor: Decompressor
    limits: ConnectionLimits
