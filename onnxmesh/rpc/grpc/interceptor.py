"""A gRPC server interceptor that turns errors of servicers into statuses."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio

from onnxmesh.masking import masked
from onnxmesh.rpc.grpc.status import to_status

Context = grpc.aio.ServicerContext[Any, Any]


class ErrorInterceptor(grpc.aio.ServerInterceptor):
    """Turns a raised `MeshError` into its status, and any other exception into a masked INTERNAL.

    The text of an unexpected error is only logged, under the incident id that the client gets.
    """

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Returns the method's handler, of any of the four kinds, wrapped."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return handler
        method = handler_call_details.method
        codec: dict[str, Any] = {
            "request_deserializer": handler.request_deserializer,
            "response_serializer": handler.response_serializer,
        }
        if handler.unary_unary:
            return grpc.unary_unary_rpc_method_handler(_unary(handler.unary_unary, method), **codec)
        if handler.unary_stream:
            return grpc.unary_stream_rpc_method_handler(_stream(handler.unary_stream, method), **codec)
        if handler.stream_unary:
            return grpc.stream_unary_rpc_method_handler(_unary(handler.stream_unary, method), **codec)
        assert handler.stream_stream is not None
        return grpc.stream_stream_rpc_method_handler(_stream(handler.stream_stream, method), **codec)


def _unary(behaviour: Callable[..., Any], method: str) -> Callable[..., Any]:
    async def call(request: Any, context: Context) -> Any:
        try:
            return await behaviour(request, context)
        except grpc.aio.AbortError:
            raise
        except Exception as error:  # noqa: BLE001 - clients get no unmasked error
            await _abort(error, method, context)

    return call


def _stream(behaviour: Callable[..., Any], method: str) -> Callable[..., Any]:
    # A streaming handler is an async generator, or a coroutine that calls context.write itself.
    async def call(request: Any, context: Context) -> AsyncIterator[Any]:
        try:
            answers = behaviour(request, context)
            if hasattr(answers, "__aiter__"):
                async for answer in answers:
                    yield answer
            else:
                await answers
        except grpc.aio.AbortError:
            raise
        except Exception as error:  # noqa: BLE001 - clients get no unmasked error
            await _abort(error, method, context)

    return call


async def _abort(error: Exception, method: str, context: Context) -> None:
    await context.abort_with_status(to_status(masked(error, method=method)))
