"""Fallback handler: calls without a handler here are proxied to gRPC's own server."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import grpc
import grpc.aio

from onnxmesh.http2.server.call import Call

_USER_AGENT = "user-agent"


class GrpcFallback:
    """Proxy of calls of any kind, unary and streaming, to a gRPC server.

    Deadline, cancellation, metadata and request messages are forwarded; initial metadata, response messages, status and trailing
    metadata are returned. Flow control of either side is passed to the other.

    Args:
        address: Address of the gRPC server, as gRPC writes it.
        max_message_bytes: The longest message in either direction.
    """

    def __init__(self, address: str, max_message_bytes: int) -> None:
        self._address = address
        self._max_message_bytes = max_message_bytes
        self._channel: grpc.aio.Channel | None = None

    def open(self) -> None:
        """Creates the channel; the server must be listening."""
        self._channel = grpc.aio.insecure_channel(
            self._address,
            [
                ("grpc.max_receive_message_length", self._max_message_bytes),
                ("grpc.max_send_message_length", self._max_message_bytes),
                ("grpc.use_local_subchannel_pool", 1),
                ("grpc.enable_http_proxy", 0),
            ],
        )

    async def close(self) -> None:
        """Closes the channel, and so cancels the calls that it carries."""
        if self._channel is not None:
            await self._channel.close()

    async def __call__(self, call: Call) -> None:
        """Proxies one call, to its end."""
        metadata = tuple(entry for entry in call.invocation_metadata() if entry[0] != _USER_AGENT)
        assert self._channel is not None
        upstream: Any = self._channel.stream_stream(call.head.path)(
            timeout=call.time_remaining(), metadata=metadata
        )
        error: grpc.aio.AioRpcError | None = None
        try:
            async with asyncio.TaskGroup() as tasks:
                uploading = tasks.create_task(_upload(call, upstream))
                error = await _download(call, upstream)
                uploading.cancel()
        finally:
            upstream.cancel()
        if error is None:
            call.end(grpc.StatusCode.OK, metadata=_entries(await upstream.trailing_metadata()))
        else:
            call.end(error.code(), error.details() or "", _entries(error.trailing_metadata()))


async def _upload(call: Call, upstream: Any) -> None:
    # The server may end the call before it has received every message: its status has the reason.
    with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
        while (message := await call.receive()) is not None:
            await upstream.write(message)
        await upstream.done_writing()


async def _download(call: Call, upstream: Any) -> grpc.aio.AioRpcError | None:
    try:
        metadata = _entries(await upstream.initial_metadata())
        if metadata:
            call.send_initial_metadata(metadata)
        while (message := await upstream.read()) is not grpc.aio.EOF:
            await call.send(message)
    except grpc.aio.AioRpcError as error:
        return error
    return None


def _entries(metadata: Any) -> tuple[tuple[str, str | bytes], ...]:
    return tuple((key, value) for key, value in metadata or ())
