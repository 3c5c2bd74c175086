"""Control calls of clients, passed on to a scheduler as bytes."""

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

READ_ON_S = 2.0
"""How long the rest of a refused upload is read, at the most, before the refusal is sent."""

QUIET_S = 0.2
"""A client that has sent nothing for this long waits for an answer."""

_DETAILS = "grpc-status-details-bin"
_HOP_BY_HOP = ("grpc-", "user-agent", "content-type", "te", ":")


class MeshProxy(grpc.GenericRpcHandler):
    """Passes every method of the Mesh service on, whatever its messages are and whichever way they stream.

    Deadline, cancellation and metadata go to the scheduler; status, details and trailing metadata come back.

    Args:
        channels: To the schedulers; stay open for as long as the server runs.
        scheduler: Returns the address of the one to ask now.
        passed_on: Metadata that is added to each call.

    Raises:
        MeshError: As `scheduler` does where there is none to ask.
    """

    def __init__(
        self,
        channels: Channels,
        scheduler: Callable[[], str],
        passed_on: Sequence[tuple[str, str]] = (),
    ) -> None:
        self._channels = channels
        self._scheduler = scheduler
        self._passed_on = tuple(passed_on)

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Returns the handler of a method of the Mesh service, None for any other."""
        method = handler_call_details.method
        if not method.startswith(PREFIX):
            return None

        async def call(requests: AsyncIterator[bytes], context: Context) -> None:
            await self._pass_on(method, requests, context)

        # On the wire a unary call is a stream of one message: this kind serves all four.
        handler: grpc.RpcMethodHandler[Any, Any] = grpc.stream_stream_rpc_method_handler(call)
        return handler

    async def _pass_on(self, method: str, requests: AsyncIterator[bytes], context: Context) -> None:
        scheduler = self._scheduler()
        call: Any = self._channels.to(scheduler).stream_stream(method)(
            timeout=context.time_remaining(),
            metadata=(*_end_to_end(context.invocation_metadata()), *self._passed_on),
        )
        error: grpc.aio.AioRpcError | None = None
        try:
            async with asyncio.TaskGroup() as tasks:
                upload = _Upload(requests, call)
                uploading = tasks.create_task(upload.run())
                error = await _download(call, context)
                if error is not None:
                    await upload.quiet(uploading)
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
    """What the client sends, on its way to the scheduler."""

    def __init__(self, requests: AsyncIterator[bytes], call: Any) -> None:
        self._requests = requests
        self._call = call
        self._num_messages = 0

    async def run(self) -> None:
        taken = True
        async for message in self._requests:
            self._num_messages += 1
            if taken:
                taken = await _written(self._call.write(message))
        if taken:
            await _written(self._call.done_writing())

    async def quiet(self, running: asyncio.Task[None]) -> None:
        """Returns once the client sends no more, or has done so for too long.

        gRPC tells a client whose write meets an ended call INTERNAL, and not why it ended.
        """
        seen = -1
        for _ in range(round(READ_ON_S / QUIET_S)):
            if running.done() or seen == self._num_messages:
                return
            seen = self._num_messages
            await asyncio.wait([running], timeout=QUIET_S)


async def _written(write: Awaitable[None]) -> bool:
    try:
        await write
    except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
        return False  # the scheduler ended the call before it had everything: its status says why
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
