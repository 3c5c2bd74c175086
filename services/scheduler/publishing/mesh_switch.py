"""The mesh switch: calls of `Mesh` are served here while this scheduler leads, and by the leader otherwise."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, TypeAlias

import grpc
import grpc.aio

from onnxmesh.errors import Unavailable
from onnxmesh.rpc.grpc.interceptor import Context
from onnxmesh.rpc.grpc.mesh_proxy import PREFIX, MeshProxy
from onnxmesh.v1.mesh_pb2 import RouteUpdate, WatchRoutesRequest
from onnxmesh.v1.mesh_pb2_grpc import MeshServicer, add_MeshServicer_to_server
from services.scheduler.publishing.discarding import discard_rest
from services.scheduler.publishing.route_relay import RouteRelay

PASSED_ON = ("onnxmesh-passed-on", "1")
"""Metadata of a call that a scheduler passed on; it is not passed on again."""

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


class MeshSwitch(grpc.GenericRpcHandler):
    """Serves the route table itself, and every other method of `Mesh` at the leader.

    Args:
        relay: Has the route table.
        servicer: Returns the service of this scheduler; None while it does not lead.
        proxy: Passes calls on to the leader.
    """

    def __init__(
        self, relay: RouteRelay, servicer: Callable[[], MeshServicer | None], proxy: MeshProxy
    ) -> None:
        self._relay = relay
        self._servicer = servicer
        self._proxy = proxy

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler | None:
        """Returns the handler of a method of the Mesh service, None for any other."""
        method = handler_call_details.method
        if not method.startswith(PREFIX):
            return None
        if method == f"{PREFIX}WatchRoutes":
            return grpc.unary_stream_rpc_method_handler(
                self._watch,
                request_deserializer=WatchRoutesRequest.FromString,
                response_serializer=RouteUpdate.SerializeToString,
            )
        servicer = self._servicer()
        if servicer is not None:
            return _handler(servicer, handler_call_details)
        if any(key == PASSED_ON[0] for key, _ in handler_call_details.invocation_metadata or ()):
            return grpc.stream_stream_rpc_method_handler(_refuse)
        return self._proxy.service(handler_call_details)

    async def _watch(self, request: WatchRoutesRequest, context: Context) -> AsyncIterator[RouteUpdate]:
        async for update in self._relay.watch():
            yield update


async def _refuse(requests: AsyncIterator[bytes], context: Context) -> None:
    await discard_rest(requests)
    raise Unavailable("this scheduler does not lead, or not yet: try again", retry_after_s=1.0)


def _handler(servicer: MeshServicer, details: grpc.HandlerCallDetails) -> Handler | None:
    captured = _Captured()
    add_MeshServicer_to_server(servicer, captured)  # type: ignore[arg-type]
    return next((found for each in captured.handlers if (found := each.service(details))), None)


class _Captured:
    """Captures the handlers that generated code would add to a server."""

    def __init__(self) -> None:
        self.handlers: list[grpc.GenericRpcHandler] = []

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        self.handlers += handlers

    def add_registered_method_handlers(self, service: str, handlers: dict[str, Handler]) -> None:
        """The same methods, under another index of the server."""
