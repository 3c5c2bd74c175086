"""A connection to a mesh: deployments, operations, inference and state."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, cast

import grpc
import grpc.aio
from google.protobuf.message import Message

from onnxmesh.client.infer_messages import infer_request, parse_infer_response
from onnxmesh.client.infer_result import Array, InferResult
from onnxmesh.client.mesh_errors import mesh_errors
from onnxmesh.client.route_options import NO_OPTIONS, RouteOptions
from onnxmesh.client.upload import (
    MODEL_FILE,
    OnUploadProgress,
    UploadFile,
    send_upload,
    upload_files,
)
from onnxmesh.errors import Internal, InvalidModel
from onnxmesh.oip import open_inference_pb2 as oip
from onnxmesh.rpc.grpc.channel import open_channel
from onnxmesh.tensors.datatype import Datatype
from onnxmesh.v1.mesh_pb2 import (
    DeployProgress,
    DeployRequest,
    DrainProgress,
    DrainRequest,
    ExplainRequest,
    ExplainResponse,
    ModelStatus,
    RebalanceRequest,
    RolloutRequest,
    ScaleRequest,
    StageMove,
    StatusRequest,
    StatusResponse,
    TableRequest,
    TableResponse,
    UndeployRequest,
)
from onnxmesh.v1.mesh_pb2_grpc import MeshStub, RoutingStub
from onnxmesh.v1.model_pb2 import DeploymentSpec

_SERVICE = "/inference.GRPCInferenceService/"
_Response = TypeVar("_Response", bound=Message)

OnDeployProgress = Callable[[DeployProgress], None]
"""Called with each step of a deployment, on the event loop."""

OnDrainProgress = Callable[[DrainProgress], None]
"""Called with each step of a drain, on the event loop."""


class MeshClient:
    """A connection to one gateway of a mesh: deploys models, sends requests, reads the state.

    Belongs to one event loop. Every method raises the `MeshError` that the service raised, or `Unavailable` if nothing
    answers at the address.

    Args:
        address: HOST:PORT of a gateway. It is connected to at the first call.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._channel = open_channel(address)
        self._mesh = MeshStub(self._channel)
        self._routing = RoutingStub(self._channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connection and cancels calls in flight."""
        await self._channel.close()

    async def deploy(
        self,
        model: Path,
        spec: DeploymentSpec,
        progress: OnDeployProgress | None = None,
        on_upload: OnUploadProgress | None = None,
    ) -> ModelStatus:
        """Uploads a model with its external data files, and waits until it is served.

        Args:
            model: The model's own file; its external data files are beside it.
            spec: The specification of the deployment.
            progress: Called with each step.
            on_upload: Called as the files are sent.

        Raises:
            InvalidModel: The file is missing, or a worker refused it (INVALID_ARGUMENT).
            MeshError: The deployment failed; earlier versions are still served.
        """
        files = await asyncio.to_thread(upload_files, model)
        try:
            return await self._deploy(spec, files, progress, on_upload)
        except InvalidModel as error:
            # In the mesh every model's own file has the same name; the caller knows its local name.
            raise InvalidModel(error.message.replace(f"'{MODEL_FILE}'", f"'{model.name}'")) from error

    async def undeploy(self, name: str, version: int = 0) -> list[int]:
        """Takes a model out of service; version 0 means all versions. Returns the removed versions."""
        with mesh_errors(self.address):
            response = await self._mesh.Undeploy(UndeployRequest(name=name, version=version))
        return list(response.versions)

    async def drain(
        self,
        worker: str,
        progress: OnDrainProgress | None = None,
        *,
        undo: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Moves every stage off a worker without an interruption of service; returns once it holds none.

        Args:
            worker: The worker's id.
            progress: Called with each step.
            undo: Ends the drain: stages may be placed on the worker again.
            timeout: Time limit in seconds; the worker stays drained after it.

        Raises:
            NotFound: There is no such worker (NOT_FOUND).
            DeadlineExceeded: `timeout` passed first (DEADLINE_EXCEEDED).
            Unavailable: The worker was restarted meanwhile, or no mesh answers (UNAVAILABLE).
        """
        with mesh_errors(self.address):
            async for step in self._mesh.Drain(DrainRequest(worker=worker, undo=undo), timeout=timeout):
                if progress is not None:
                    progress(step)
                if step.done:
                    return
        raise Internal("the mesh ended the drain without an outcome")

    async def scale(
        self, name: str, replicas: int, version: int = 0, progress: OnDeployProgress | None = None
    ) -> ModelStatus:
        """Changes the number of replicas of each stage of a model, and waits until they are ready.

        Args:
            name: The model.
            replicas: Number of replicas; the minimum if the planner chooses it for each stage.
            version: 0 means all versions.
            progress: Called with each step.

        Raises:
            NotFound: There is no such model or version (NOT_FOUND).
            Unsatisfiable: Too few workers can hold them (FAILED_PRECONDITION).
            MeshError: The scaling failed.
        """
        request = ScaleRequest(name=name, version=version, replicas=replicas)
        with mesh_errors(self.address):
            async for step in self._mesh.Scale(request):
                if progress is not None:
                    progress(step)
                if step.phase == DeployProgress.READY:
                    return step.model
        raise Internal("the mesh ended the scaling without an outcome")

    async def rebalance(self, *, dry_run: bool = False) -> list[StageMove]:
        """Moves stages to where they would be placed now and returns the moves; with `dry_run` it only returns them."""
        with mesh_errors(self.address):
            response = await self._mesh.Rebalance(RebalanceRequest(dry_run=dry_run))
        return list(response.moves)

    async def roll_out(self, name: str, to: int, percent: int = 100) -> dict[int, int]:
        """Sends a share of the requests without a version to one version; the others keep their proportions of the rest.

        Returns:
            The share of each version, in percent.

        Raises:
            NotFound: There is no such model or version (NOT_FOUND).
            InvalidRequest: The percentage is out of range (INVALID_ARGUMENT).
        """
        return await self._rollout(RolloutRequest(name=name, to=to, percent=percent))

    async def roll_back(self, name: str) -> dict[int, int]:
        """Restores the traffic split before the last rollout; returns the share of each version, in percent.

        Raises:
            NotFound: There is no such model (NOT_FOUND).
            Unsatisfiable: There is no rollout to undo (FAILED_PRECONDITION).
        """
        return await self._rollout(RolloutRequest(name=name, back=True))

    async def _rollout(self, request: RolloutRequest) -> dict[int, int]:
        with mesh_errors(self.address):
            response = await self._mesh.Rollout(request)
        return {each.version: each.percent for each in response.versions}

    async def status(self, timeout: float | None = None) -> StatusResponse:
        """Returns every model, worker and gateway of the mesh."""
        with mesh_errors(self.address):
            return await self._mesh.Status(StatusRequest(), timeout=timeout)

    async def route_table(self, timeout: float | None = None) -> TableResponse:
        """Returns the route table of the gateway, which answers with or without a scheduler.

        Raises:
            Internal: The service at the address is not a gateway.
        """
        with mesh_errors(self.address):
            return await self._routing.Table(TableRequest(), timeout=timeout)

    async def explain(self, request: ExplainRequest) -> ExplainResponse:
        """Returns how the gateway would route a request now, with the scores and the filters."""
        with mesh_errors(self.address):
            return await self._routing.Explain(request)

    async def server_ready(self, timeout: float | None = None) -> bool:
        """Whether every deployed model has a complete route."""
        response = await self._inference(
            "ServerReady", oip.ServerReadyRequest(), oip.ServerReadyResponse, timeout
        )
        return response.ready

    async def model_ready(self, name: str, version: str = "", timeout: float | None = None) -> bool:
        """Whether one model has a complete route."""
        request = oip.ModelReadyRequest(name=name, version=version)
        response = await self._inference("ModelReady", request, oip.ModelReadyResponse, timeout)
        return response.ready

    async def model_metadata(
        self, name: str, version: str = "", timeout: float | None = None
    ) -> oip.ModelMetadataResponse:
        """Returns the model's versions, inputs and outputs."""
        request = oip.ModelMetadataRequest(name=name, version=version)
        return await self._inference("ModelMetadata", request, oip.ModelMetadataResponse, timeout)

    async def infer(
        self,
        name: str,
        inputs: Mapping[str, Array],
        outputs: Sequence[str] | None = None,
        version: str = "",
        timeout: float | None = None,
        trace: bool = False,
        *,
        request_id: str = "",
        datatypes: Mapping[str, Datatype] | None = None,
        options: RouteOptions = NO_OPTIONS,
    ) -> InferResult:
        """Sends one inference request.

        Args:
            name: The model.
            inputs: One array for each input of the model, by name. Arrays of str, bytes or object become
                BYTES. BF16 is passed as its bit patterns: a uint16 array with an entry in `datatypes`.
            outputs: Names of the outputs to return; None means all.
            version: A decimal number; empty means the latest that is ready.
            timeout: The request's deadline in seconds, which holds on every hop.
            trace: Whether the result includes the route.
            request_id: Id in the result and in the logs of the services.
            datatypes: Datatypes that cannot be derived from an array's dtype, by input name.
            options: Routing constraints.

        Raises:
            InvalidRequest: The inputs do not match the model's signature, or a selector cannot be
                parsed (INVALID_ARGUMENT).
            NotFound: There is no such model or version (NOT_FOUND).
            DeadlineExceeded: `timeout` passed first (DEADLINE_EXCEEDED).
            Unavailable: No complete route, or no mesh (UNAVAILABLE).
        """
        request = infer_request(
            name,
            inputs,
            outputs=outputs,
            version=version,
            request_id=request_id,
            datatypes=datatypes,
            trace=trace,
            options=options,
        )
        return parse_infer_response(
            await self._inference("ModelInfer", request, oip.ModelInferResponse, timeout)
        )

    async def _deploy(
        self,
        spec: DeploymentSpec,
        files: list[UploadFile],
        progress: OnDeployProgress | None,
        on_upload: OnUploadProgress | None,
    ) -> ModelStatus:
        with mesh_errors(self.address):
            call = self._mesh.Deploy()
            try:
                await call.write(DeployRequest(spec=spec))
                async for step in call:
                    if progress is not None:
                        progress(step)
                    if step.phase == DeployProgress.ACCEPTED:
                        # Not earlier: a refused spec must not cost the upload of a large model.
                        await send_upload(call, files, on_upload)
                    elif step.phase == DeployProgress.READY:
                        return step.model
            finally:
                call.cancel()
        raise Internal("the mesh ended the deployment without an outcome")

    async def _inference(
        self, method: str, request: Message, response: type[_Response], timeout: float | None
    ) -> _Response:
        # The Open Inference messages are in a private descriptor pool, so they have no generated stub.
        call: grpc.aio.UnaryUnaryMultiCallable[Any, Any] = self._channel.unary_unary(
            _SERVICE + method,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=response.FromString,
        )
        with mesh_errors(self.address):
            return cast("_Response", await call(request, timeout=timeout))
