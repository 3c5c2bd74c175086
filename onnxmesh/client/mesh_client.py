"""A connection to a mesh, for programs and for the command line."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, cast

import grpc
import grpc.aio
from google.protobuf.message import Message

from onnxmesh.client.answer import Answer, Array
from onnxmesh.client.inference import answer_of, infer_request
from onnxmesh.client.mesh_errors import mesh_errors
from onnxmesh.client.route_options import NO_OPTIONS, RouteOptions
from onnxmesh.client.upload import MODEL_FILE, UploadFile, files_of, send
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

Progress = Callable[[DeployProgress], None]
"""Is told of every step of a deployment, on the event loop."""

DrainSteps = Callable[[DrainProgress], None]
"""Is told of every step of a drain, on the event loop."""


class MeshClient:
    """Deploys models to a mesh, asks about them and runs them, through one of its gateways.

    Belongs to one event loop. Every method raises a `MeshError` of the class that the mesh raised, and
    `Unavailable` where nothing answers at the address.

    Args:
        address: HOST:PORT of a gateway. Nothing is sent before the first call.
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
        """Ends the connection; calls in flight are cancelled."""
        await self._channel.close()

    async def deploy(
        self, model: Path, spec: DeploymentSpec, progress: Progress | None = None
    ) -> ModelStatus:
        """Sends a model with the external data files that it names, and waits until it is served.

        Args:
            model: The model's own file; external data is looked for beside it.
            spec: What is asked for.
            progress: Is told of every step.

        Raises:
            InvalidModel: The file is missing, or a worker refused it (INVALID_ARGUMENT).
            MeshError: Whatever else the mesh says; what was served before is served on.
        """
        files = await asyncio.to_thread(files_of, model)
        try:
            return await self._deploy(spec, files, progress)
        except InvalidModel as error:
            # The mesh calls every model's own file the same; the caller knows it by its name.
            raise InvalidModel(error.message.replace(f"'{MODEL_FILE}'", f"'{model.name}'")) from error

    async def undeploy(self, name: str, version: int = 0) -> list[int]:
        """Takes a model out of service; version 0 means all. Returns the versions that went."""
        with mesh_errors(self.address):
            response = await self._mesh.Undeploy(UndeployRequest(name=name, version=version))
        return list(response.versions)

    async def drain(
        self,
        worker: str,
        progress: DrainSteps | None = None,
        *,
        undo: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Has every stage moved off a worker and keeps it empty, without a gap in service; returns when it is empty.

        Args:
            worker: Its id.
            progress: Is told of every step.
            undo: Takes it back: the worker may be given stages again.
            timeout: Seconds to wait; the worker stays marked when they are over.

        Raises:
            NotFound: There is no such worker (NOT_FOUND).
            DeadlineExceeded: `timeout` passed first (DEADLINE_EXCEEDED).
            Unavailable: The worker was started anew meanwhile, or no mesh answers (UNAVAILABLE).
        """
        with mesh_errors(self.address):
            async for step in self._mesh.Drain(DrainRequest(worker=worker, undo=undo), timeout=timeout):
                if progress is not None:
                    progress(step)
                if step.done:
                    return
        raise Internal("the mesh ended the drain without a word of its outcome")

    async def scale(
        self, name: str, replicas: int, version: int = 0, progress: Progress | None = None
    ) -> ModelStatus:
        """Changes how many replicas each stage of a model has, and waits until they are there.

        Args:
            name: The model.
            replicas: How many; the least of them where a plan chooses for each stage.
            version: 0 means all.
            progress: Is told of every step.

        Raises:
            NotFound: There is no such model or version (NOT_FOUND).
            Unsatisfiable: Too few workers can hold them (FAILED_PRECONDITION).
            MeshError: Whatever else the mesh says.
        """
        request = ScaleRequest(name=name, version=version, replicas=replicas)
        with mesh_errors(self.address):
            async for step in self._mesh.Scale(request):
                if progress is not None:
                    progress(step)
                if step.phase == DeployProgress.READY:
                    return step.model
        raise Internal("the mesh ended the scaling without a word of its outcome")

    async def rebalance(self, *, dry_run: bool = False) -> list[StageMove]:
        """Moves stages to where they would be placed today and returns the moves; with `dry_run` that is all it does."""
        with mesh_errors(self.address):
            response = await self._mesh.Rebalance(RebalanceRequest(dry_run=dry_run))
        return list(response.moves)

    async def roll_out(self, name: str, to: int, percent: int = 100) -> dict[int, int]:
        """Gives one version its part of the requests that name none; the others share the rest as they did before.

        Returns:
            What each version gets, in percent.

        Raises:
            NotFound: There is no such model or version (NOT_FOUND).
            InvalidRequest: The percentage cannot be (INVALID_ARGUMENT).
        """
        return await self._rollout(RolloutRequest(name=name, to=to, percent=percent))

    async def roll_back(self, name: str) -> dict[int, int]:
        """Has requests split as before the last rollout; returns what each version gets, in percent.

        Raises:
            NotFound: There is no such model (NOT_FOUND).
            Unsatisfiable: There is no rollout to take back (FAILED_PRECONDITION).
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
        """Returns what the gateway routes by. It answers itself, whether a scheduler is there or not.

        Raises:
            Internal: What answers at the address is no gateway.
        """
        with mesh_errors(self.address):
            return await self._routing.Table(TableRequest(), timeout=timeout)

    async def explain(self, request: ExplainRequest) -> ExplainResponse:
        """Returns how the gateway would route a request now, and why."""
        with mesh_errors(self.address):
            return await self._routing.Explain(request)

    async def server_ready(self, timeout: float | None = None) -> bool:
        """Whether the gateway can answer for every deployed model."""
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
        wishes: RouteOptions = NO_OPTIONS,
    ) -> Answer:
        """Runs a model.

        Args:
            name: The model.
            inputs: One array for each input of the model, by name. Arrays of str, bytes or object become
                BYTES. BF16 travels as its bit patterns, a uint16 array with its datatype given.
            outputs: Those wanted; None means all.
            version: A decimal number; empty means the latest that is ready.
            timeout: Seconds until the mesh gives the request up, on every hop.
            trace: Whether the answer tells the route that it took.
            request_id: Is echoed and stands in the services' logs.
            datatypes: For inputs whose arrays alone do not tell it.
            wishes: Where it should run.

        Raises:
            InvalidRequest: The inputs do not match the model's signature, or a wish cannot be read
                (INVALID_ARGUMENT).
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
            wishes=wishes,
        )
        return answer_of(await self._inference("ModelInfer", request, oip.ModelInferResponse, timeout))

    async def _deploy(
        self, spec: DeploymentSpec, files: list[UploadFile], progress: Progress | None
    ) -> ModelStatus:
        with mesh_errors(self.address):
            call = self._mesh.Deploy()
            try:
                await call.write(DeployRequest(spec=spec))
                async for step in call:
                    if progress is not None:
                        progress(step)
                    if step.phase == DeployProgress.ACCEPTED:
                        # Not earlier: a spec that is refused costs nobody the sending of a large model.
                        await send(call, files)
                    elif step.phase == DeployProgress.READY:
                        return step.model
            finally:
                call.cancel()
        raise Internal("the mesh ended the deployment without a word of its outcome")

    async def _inference(
        self, method: str, request: Message, response: type[_Response], timeout: float | None
    ) -> _Response:
        # Our Open Inference messages live in a private pool, so there is no generated stub for them.
        call: grpc.aio.UnaryUnaryMultiCallable[Any, Any] = self._channel.unary_unary(
            _SERVICE + method,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=response.FromString,
        )
        with mesh_errors(self.address):
            return cast("_Response", await call(request, timeout=timeout))
