"""Workers that join, leave and come back."""

from __future__ import annotations

import pytest

from onnxmesh.errors import Unsatisfiable
from onnxmesh.rpc.grpc.channel import open_channel
from onnxmesh.v1.registry_pb2 import Instance, RegisterRequest
from onnxmesh.v1.registry_pb2_grpc import RegistryStub
from services.scheduler.app import scheduler_app
from tests.eventually import eventually
from tests.fakes.fake_worker import FakeWorker
from tests.integration.scheduler.scheduler_client import SchedulerClient


async def model_state(client):
    (model,) = (await client.status()).models
    return model.state, model.reason


async def test_fleet_removes_a_dead_worker_from_the_routes_and_its_stages_go_elsewhere(mesh):
    """Its broken stream is enough: a missing heartbeat would count only after ten minutes."""
    async with mesh("a", "b") as (client, a, b):
        await client.deploy(stages=2)
        await eventually(lambda: client.routes == {"m/1": [{"a"}, {"b"}]})
        b.loading.clear()
        await a.die()
        await eventually(lambda: client.routes == {"m/1": [set(), {"b"}]})
        assert await model_state(client) == ("UNAVAILABLE", "stage 0 has no replica")
        b.loading.set()
        await eventually(lambda: client.routes == {"m/1": [{"b"}, {"b"}]})
        assert (await model_state(client))[0] == "READY"


async def test_fleet_without_workers_keeps_the_model_in_the_table_until_one_joins(mesh, tmp_path):
    async with mesh("a") as (client, a):
        await client.deploy(stages=2)
        await a.die()
        await eventually(lambda: client.routes == {"m/1": [set(), set()]})
        assert (await model_state(client))[1].startswith("stage 0 has no replica: no worker is there")
        async with FakeWorker("a", client.address, tmp_path):
            await eventually(lambda: client.routes == {"m/1": [{"a"}, {"a"}]})


async def test_fleet_gives_a_new_worker_a_share_and_the_route_is_never_incomplete(mesh, tmp_path):
    async with mesh("a") as (client, a):
        await client.deploy(stages=4)
        await eventually(lambda: client.routes)
        first = len(client.tables) - 1
        async with FakeWorker("b", client.address, tmp_path) as b:
            await eventually(lambda: len(b.held) == 2 and len(a.held) == 2)
            await eventually(lambda: sorted(len(s) for s in client.routes["m/1"]) == [1] * 4)
            for table in client.tables[first:]:
                assert all(stage.replicas for stage in table.models[0].stages)
            assert len(b.commands) == 2
            assert sum(command.startswith("evict") for command in a.commands) == 2


async def test_fleet_gives_a_worker_of_another_cpu_class_no_stage_of_a_tied_plan(mesh, tmp_path):
    async with mesh("a") as (client, a):
        await client.deploy(stages=4)
        async with FakeWorker("b", client.address, tmp_path, attributes={"cpu.class": "arm"}) as b:
            await client.joined(b)
            await a.die()
            await eventually(lambda: client.routes == {"m/1": [set()] * 4})
            assert "no worker satisfies the CPU class 'x86'" in (await model_state(client))[1]
            assert not b.commands


async def test_fleet_without_workers_refuses_to_deploy_the_same_again(mesh):
    async with mesh("a") as (client, a):
        await client.deploy()
        await a.die()
        await eventually(lambda: client.routes == {"m/1": [set()]})
        with pytest.raises(Unsatisfiable, match="no worker has joined"):
            await client.deploy()


async def test_fleet_replaces_a_worker_by_its_newer_generation(mesh, tmp_path):
    async with mesh("a") as (client, old):
        await client.deploy(stages=1)
        async with FakeWorker("a", client.address, tmp_path / "new") as new:
            await eventually(lambda: client.addresses == {new.address})
            await old.die()
            (worker,) = (await client.status()).workers
            assert worker.generation == new.generation
            assert client.addresses == {new.address}


async def test_registry_removes_an_instance_without_heartbeats(settings):
    settings = settings.model_copy(update={"registration_silence_s": 0.3})
    async with (
        scheduler_app(settings) as serving,
        SchedulerClient(serving.address) as client,
        open_channel(serving.address) as channel,
    ):
        call = RegistryStub(channel).Register()
        mute = Instance(id="g", role="gateway", address="127.0.0.1:1", generation=1)
        while [gateway.id for gateway in (await client.status()).gateways] != ["g"]:
            await call.write(RegisterRequest(instance=mute))
            await call.read()
        await client.until(lambda status: not status.gateways)
        call.cancel()
