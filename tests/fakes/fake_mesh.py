"""A gateway's control and inference services on a real socket, with the replies that a test gives it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio

from onnxmesh.oip import open_inference_pb2 as oip
from onnxmesh.rpc.grpc.channel import server_options
from onnxmesh.rpc.grpc.interceptor import ErrorInterceptor
from onnxmesh.v1.mesh_pb2_grpc import (
    MeshServicer,
    RoutingServicer,
    add_MeshServicer_to_server,
    add_RoutingServicer_to_server,
)


class FakeMesh(MeshServicer, RoutingServicer):
    """Replies to each method with what `replies` has for it, in order; an exception is raised.

    Attributes:
        address: HOST:PORT once it runs.
        requests: The requests so far, as (method, message).
        replies: By method, for streams the messages of the one call.
    """

    def __init__(self, **replies: Sequence[Any]) -> None:
        self.address = ""
        self.requests: list[tuple[str, Any]] = []
        self.replies = {method: list(messages) for method, messages in replies.items()}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[FakeMesh]:
        """Serves until the block ends."""
        server = grpc.aio.server(interceptors=[ErrorInterceptor()], options=server_options())
        add_MeshServicer_to_server(self, server)
        add_RoutingServicer_to_server(self, server)
        inference = {
            "ModelMetadata": self._inference("ModelMetadata", oip.ModelMetadataRequest),
            "ModelInfer": self._inference("ModelInfer", oip.ModelInferRequest),
            "ServerReady": self._inference("ServerReady", oip.ServerReadyRequest),
            "ModelReady": self._inference("ModelReady", oip.ModelReadyRequest),
        }
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("inference.GRPCInferenceService", inference),)
        )
        self.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        try:
            yield self
        finally:
            await server.stop(None)

    def of(self, method: str) -> list[Any]:
        """Returns the requests of one method."""
        return [message for called, message in self.requests if called == method]

    def _inference(self, method: str, request: Any) -> grpc.RpcMethodHandler:
        async def reply(message, context):
            return self._next(method, message)

        return grpc.unary_unary_rpc_method_handler(
            reply,
            request_deserializer=request.FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )

    def _next(self, method: str, request: Any) -> Any:
        self.requests.append((method, request))
        reply = self.replies[method].pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def Status(self, request, context):  # noqa: N802 - the protocol's name
        return self._next("Status", request)

    async def Undeploy(self, request, context):  # noqa: N802 - the protocol's name
        return self._next("Undeploy", request)

    async def Rebalance(self, request, context):  # noqa: N802 - the protocol's name
        return self._next("Rebalance", request)

    async def Rollout(self, request, context):  # noqa: N802 - the protocol's name
        return self._next("Rollout", request)

    async def Table(self, request, context):  # noqa: N802 - the protocol's name
        return self._next("Table", request)

    async def Explain(self, request, context):  # noqa: N802 - the protocol's name
        return self._next("Explain", request)

    async def Scale(self, request, context):  # noqa: N802 - the protocol's name
        self.requests.append(("Scale", request))
        while self.replies["Scale"]:
            yield self._take("Scale")

    async def Drain(self, request, context):  # noqa: N802 - the protocol's name
        self.requests.append(("Drain", request))
        while self.replies["Drain"]:
            yield self._take("Drain")

    async def Deploy(self, request_iterator, context):  # noqa: N802 - the protocol's name
        self.requests.append(("Deploy", await anext(request_iterator)))
        while self.replies["Deploy"]:
            step = self._take("Deploy")
            yield step
            if step.phase == step.ACCEPTED:
                self.requests += [("Deploy", message) async for message in request_iterator]

    def _take(self, method: str) -> Any:
        reply = self.replies[method].pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply
