"""A gateway that is configured with several schedulers."""

from __future__ import annotations

from contextlib import AsyncExitStack

import grpc.aio
import pytest

from onnxmesh.oip import open_inference_pb2 as oip
from onnxmesh.v1 import mesh_pb2
from onnxmesh.v1.mesh_pb2_grpc import MeshStub
from services.gateway.app import gateway_app
from services.gateway.settings import GatewaySettings
from tests.eventually import eventually
from tests.fakes.fake_scheduler import FakeScheduler
from tests.fakes.fake_stage_worker import FakeStageWorker
from tests.fakes.routed_models import routed_model
from tests.integration.gateway.running_gateway import RunningGateway, double, request_of


@pytest.fixture
async def two_schedulers():
    """A gateway of two schedulers, and what ends each of them."""
    async with AsyncExitStack() as stack:
        schedulers, ends = [], []
        for _ in range(2):
            end = await stack.enter_async_context(AsyncExitStack())
            schedulers.append(await end.enter_async_context(FakeScheduler().running()))
            ends.append(end)
        worker = await stack.enter_async_context(FakeStageWorker("a", double).running())
        addresses = ",".join(each.address for each in schedulers)
        settings = GatewaySettings(
            scheduler=addresses, listen="127.0.0.1:0", drain_s=1, _cli_parse_args=False
        )
        serving = await stack.enter_async_context(gateway_app(settings))
        gateway = RunningGateway(serving, schedulers[0], {"a": worker}, AsyncExitStack(), ends[0])
        gateway.channel = await stack.enter_async_context(grpc.aio.insecure_channel(serving.address))
        yield gateway, schedulers, ends


async def test_route_watch_follows_the_next_scheduler_after_a_loss(two_schedulers):
    """Routes, the registration and control calls all go to the scheduler that is left."""
    gateway, (first, second), (end_first, _) = two_schedulers
    model = routed_model([[("a", gateway.workers["a"].address)]])
    first.publish(model)
    await gateway.until_ready("m")
    await end_first.aclose()
    await gateway.infer(request_of())
    second.publish(model)
    second.publish(model, routed_model([[("a", gateway.workers["a"].address)]], name="n"))
    await gateway.until_ready("n")
    await eventually(lambda: second.instances)
    status = await MeshStub(gateway.channel).Status(mesh_pb2.StatusRequest(), timeout=300)
    assert status.epoch == 2


async def test_route_watch_refuses_an_older_table_of_another_scheduler(two_schedulers):
    """A scheduler that does not know yet that another leads cannot replace the routes by older ones."""
    gateway, (first, second), (end_first, _) = two_schedulers
    here = [[("a", gateway.workers["a"].address)]]
    for _ in range(3):
        first.publish(routed_model(here))
    await gateway.until_ready("m")
    second.publish(routed_model(here, name="old"))
    await end_first.aclose()
    await eventually(lambda: second.instances)
    second.publish(routed_model(here, name="older"))
    for name in ("new", "new", "new"):
        second.publish(routed_model(here), routed_model(here, name=name))
    await gateway.until_ready("new")
    answer = await gateway.call("ModelReady", oip.ModelReadyRequest(name="m"))
    assert answer.ready
