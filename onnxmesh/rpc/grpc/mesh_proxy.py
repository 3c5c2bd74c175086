"""A reverse proxy for the Mesh service: forwards clients' control calls to a scheduler as bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Any

import grpc
import grpc.aio

from onnxmesh.errors import Unavailable
from onnxmesh.rpc.grpc.channels import Channels
from onnxmesh.rpc.grpc.interceptor import Context

PREFIX = "/onnxmesh.v1.Mesh/"

UPLOAD_DRAIN_S = 2.0
"""Limit of reading the rest of a refused upload before the refusal is sent."""

UPLOAD_QUIET_S = 0.2
"""A client that has sent nothing for this time waits for the answer."""

_DETAILS = "grpc-status-details-bin"
_HOP_BY_HOP = ("grpc-", "user-agent", "content-type", "te", ":")


class MeshProxy(grpc.GenericRpcHandler):
    """Forwards every method of the Mesh service, unary or streaming, without decoding messages.

    Deadline, cancellation and metadata are forwarded to the scheduler; status, details and trailing metadata are
    returned to the client.

    Args:
        channels: Channels to the schedulers; open as long as the server runs.
        scheduler: Returns the address of the current scheduler; raises a `MeshError` where there is none.
        extra_metadata: Metadata that is added to each call.
    """

    def __init__(
        self,
        channels: Channels,
        scheduler: Callable[[], str],
        extra_metadata: Sequence[tuple[str, str]] = (),
    ) -> None:
        self._channels = channels
        self._scheduler = scheduler
        self._extra_metadata = tuple(extra_metadata)

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Returns the handler of a method of the Mesh service, None for any other."""
        method = handler_call_details.method
        if not method.startswith(PREFIX):
            return None

        async def call(requests: AsyncIterator[bytes], context: Context) -> None:
            await self._forward(method, requests, context)

        # On the wire a unary call is a stream of one message: this kind of handler serves all four.
        handler: grpc.RpcMethodHandler[Any, Any] = grpc.stream_stream_rpc_method_handler(call)
        return handler

    async def _forward(self, method: str, requests: AsyncIterator[bytes], context: Context) -> None:
        scheduler = self._scheduler()
        call: Any = self._channels.to(scheduler).stream_stream(method)(
            timeout=context.time_remaining(),
            metadata=(*_end_to_end(context.invocation_metadata()), *self._extra_metadata),
        )
        error: grpc.aio.AioRpcError | None = None
        try:
            async with asyncio.TaskGroup() as tasks:
                upload = _Upload(requests, call)
                uploading = tasks.create_task(upload.run())
                error = await _download(call, context)
                if error is not None:
                    await upload.wait_until_quiet(uploading)
                uploading.cancel()
        finally:
            call.cancel()
        if error is None:
            context.set_trailing_metadata(tuple(await call.trailing_metadata()))
            return
        trailing = tuple(error.trailing_metadata())
        if error.code() is grpc.StatusCode.UNAVAILABLE and not any(key == _DETAILS for key, _ in trailing):
            raise Unavailable(f"the scheduler at {scheduler} cannot be reached: {error.details()}") from error
        await context.abort(error.code(), error.details() or "", trailing)


class _Upload:
    """The client's messages, forwarded to the scheduler."""

    def __init__(self, requests: AsyncIterator[bytes], call: Any) -> None:
        self._requests = requests
        self._call = call
        self._num_messages = 0

    async def run(self) -> None:
        is_open = True
        async for message in self._requests:
            self._num_messages += 1
            if is_open:
                is_open = await _written(self._call.write(message))
        if is_open:
            await _written(self._call.done_writing())

    async def wait_until_quiet(self, running: asyncio.Task[None]) -> None:
        """Returns once the client pauses, but after `UPLOAD_DRAIN_S` at the latest.

        A client that writes to an ended call gets INTERNAL from gRPC instead of the status of the call.
        """
        seen = -1
        for _ in range(round(UPLOAD_DRAIN_S / UPLOAD_QUIET_S)):
            if running.done() or seen == self._num_messages:
                return
            seen = self._num_messages
            await asyncio.wait([running], timeout=UPLOAD_QUIET_S)


async def _written(write: Awaitable[None]) -> bool:
    try:
        await write
    except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
        return False  # the scheduler ended the call early: its status has the reason
    return True


async def _download(call: Any, context: Context) -> grpc.aio.AioRpcError | None:
    try:
        while (message := await call.read()) is not grpc.aio.EOF:
            await context.write(message)
    except grpc.aio.AioRpcError as error:
        return error
    return None


def _end_to_end(metadata: Iterable[tuple[str, str | bytes]] | None) -> list[tuple[str, str | bytes]]:
    return [(key, value) for key, value in metadata or () if not key.startswith(_HOP_BY_HOP)]
