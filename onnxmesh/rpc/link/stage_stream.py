"""The gRPC service `onnxmesh.v1.StageStream`: accepts links and advertises the Unix socket for peers of this host."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio

from onnxmesh.errors import Unavailable
from onnxmesh.rpc.frames.frames import Frame, encode_envelope
from onnxmesh.rpc.link.grpc_pipe import AcceptedPipe
from onnxmesh.rpc.link.hello import read_hello
from onnxmesh.rpc.link.pipe import Pipe
from onnxmesh.v1.frame_pb2 import FrameHeader, Hello, UnixSocket

SERVICE = "onnxmesh.v1.StageStream"
EXCHANGE = f"/{SERVICE}/Exchange"
FIND_UNIX_SOCKET = f"/{SERVICE}/FindDoor"

Answer = Callable[[], Awaitable[None]]
"""Sends the Hello of the accepting side."""


def hello_message(hello: Hello) -> bytes:
    """Returns the first message of a stream."""
    return encode_envelope([Frame(FrameHeader(hello=hello))])


def stage_stream_handler(
    hello: Hello,
    serve: Callable[[Pipe, Hello, Answer], Awaitable[None]],
    unix_socket: Callable[[], UnixSocket],
) -> grpc.GenericRpcHandler:
    """Returns the handler of the service, for a gRPC server.

    Args:
        hello: Sent on each accepted stream.
        serve: Awaited with each accepted stream, its peer's Hello, and what sends this side's Hello; the stream ends with it.
        unix_socket: Returns the address that is advertised; empty: none.
    """
    greeting = hello_message(hello)

    async def exchange(_: Any, context: Any) -> None:
        first = await context.read()
        peer_hello = read_hello(None if first is grpc.aio.EOF else first, context.peer())

        async def answer() -> None:
            try:
                await context.write(greeting)
            except grpc.aio.BaseError as error:
                raise Unavailable(f"the peer disconnected before its answer: {error}") from error

        await serve(AcceptedPipe(context), peer_hello, answer)

    async def find_unix_socket(_: bytes, context: Any) -> bytes:
        return unix_socket().SerializeToString()

    accept: grpc.RpcMethodHandler[Any, Any] = grpc.stream_stream_rpc_method_handler(exchange)
    advertise: grpc.RpcMethodHandler[Any, Any] = grpc.unary_unary_rpc_method_handler(find_unix_socket)
    methods = {EXCHANGE: accept, FIND_UNIX_SOCKET: advertise}
    return grpc.method_handlers_generic_handler(
        SERVICE, {method.rpartition("/")[2]: handler for method, handler in methods.items()}
    )
