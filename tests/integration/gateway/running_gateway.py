"""A real gateway in this process, with a fake scheduler and fake workers on real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
import numpy as np

from onnxmesh.oip import open_inference_pb2 as oip
from onnxmesh.service.serving import Serving
from onnxmesh.tensors.arrays import from_array, to_array
from onnxmesh.tensors.tensor import Tensor
from services.gateway.app import gateway_app
from services.gateway.settings import GatewaySettings
from tests.eventually import BUSY_S, eventually
from tests.fakes.fake_scheduler import FakeScheduler
from tests.fakes.fake_stage_worker import FakeStageWorker
from tests.fakes.routed_models import routed_model

SERVICE = "/inference.GRPCInferenceService/"


def double(tensors: Sequence[Tensor]) -> list[Tensor]:
    """y = 2 x."""
    return [from_array("y", to_array(tensors[0]) * np.float32(2))]


@dataclass
class RunningGateway:
    """What a test drives and watches.

    Attributes:
        serving: The gateway itself.
        scheduler: Publishes its route tables.
        workers: By id.
        stopping: Closing it stops the gateway alone.
        stop_scheduler: Closing it stops the scheduler alone.
        channel: To the gateway.
    """

    serving: Serving
    scheduler: FakeScheduler
    workers: dict[str, FakeStageWorker]
    stopping: AsyncExitStack
    stop_scheduler: AsyncExitStack
    channel: grpc.aio.Channel = field(init=False)

    @property
    def address(self) -> str:
        """Where clients reach it."""
        return self.serving.address

    def routed(self, *stages: str, **changes: Any) -> Any:
        """A model with the workers named for each stage."""
        return routed_model(
            [[(worker, self.workers[worker].address) for worker in workers] for workers in stages], **changes
        )

    async def publish(self, *models: Any, workers: Sequence[Any] = ()) -> None:
        """Puts a table in force and waits until the gateway has it."""
        self.scheduler.publish(*models, workers=workers)
        for model in models:
            ready = all(stage.replicas for stage in model.stages)
            await self.until_ready(model.name, str(model.version), ready)

    async def until_ready(self, name: str, version: str = "", ready: bool = True) -> None:
        """Waits until ModelReady says so."""
        found: list[bool] = []

        async def call() -> None:
            answer = await self.call("ModelReady", oip.ModelReadyRequest(name=name, version=version))
            found.append(answer.ready)

        for _ in range(1000):
            await call()
            if found[-1] == ready:
                return
        raise AssertionError(f"{name} is not {'' if ready else 'un'}ready")

    async def call(self, method: str, request: Any, timeout: float = BUSY_S, **options: Any) -> Any:
        """One unary call of the protocol."""
        response = getattr(oip, f"{method}Response")
        call = self.channel.unary_unary(
            SERVICE + method, type(request).SerializeToString, response.FromString
        )
        return await call(request, timeout=timeout, **options)

    def infer(self, request: Any, timeout: float | None = BUSY_S) -> Any:
        """Begins a ModelInfer; await it or cancel it."""
        call: Any = self.channel.unary_unary(
            SERVICE + "ModelInfer",
            oip.ModelInferRequest.SerializeToString,
            oip.ModelInferResponse.FromString,
        )
        return call(request, timeout=timeout)


def request_of(array: Any = None, model: str = "m", **fields: Any) -> oip.ModelInferRequest:
    """A request for `double`."""
    array = np.ones((1, 4), np.float32) if array is None else array
    tensor = from_array("x", array)
    request = oip.ModelInferRequest(model_name=model, **fields)
    request.inputs.add(name="x", datatype=tensor.datatype, shape=tensor.shape)
    request.raw_input_contents.append(bytes(tensor.data))
    return request


@asynccontextmanager
async def running_gateway(
    workers: str = "ab",
    model: Any = double,
    *,
    settings_type: type[GatewaySettings] = GatewaySettings,
    **settings: Any,
) -> AsyncIterator[RunningGateway]:
    """Starts a scheduler, a worker for each letter, and a gateway that has no route table yet."""
    async with AsyncExitStack() as stack:
        stop_scheduler = await stack.enter_async_context(AsyncExitStack())
        scheduler = await stop_scheduler.enter_async_context(FakeScheduler().running())
        running = {
            name: await stack.enter_async_context(FakeStageWorker(name, model).running()) for name in workers
        }
        given = {"listen": "127.0.0.1:0", "drain_s": 5.0, **settings}
        stopping = await stack.enter_async_context(AsyncExitStack())
        serving = await stopping.enter_async_context(
            gateway_app(settings_type(scheduler=scheduler.address, _cli_parse_args=False, **given))
        )
        gateway = RunningGateway(serving, scheduler, running, stopping, stop_scheduler)
        gateway.channel = await stack.enter_async_context(
            grpc.aio.insecure_channel(
                serving.address,
                [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)],
            )
        )
        await eventually(lambda: len(scheduler.instances) == 1)
        yield gateway
