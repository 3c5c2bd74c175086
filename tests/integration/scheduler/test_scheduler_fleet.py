"""Workers and schedulers that come, go and come back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from onnxmesh.errors import Conflict, Unsatisfiable
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


async def test_a_dead_worker_leaves_the_routes_at_once_and_its_stages_go_elsewhere(mesh):
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


async def test_a_model_without_any_worker_stays_in_the_table_and_comes_back_with_one(mesh, tmp_path):
    async with mesh("a") as (client, a):
        await client.deploy(stages=2)
        await a.die()
        await eventually(lambda: client.routes == {"m/1": [set(), set()]})
        assert (await model_state(client))[1].startswith("stage 0 has no replica: no worker is there")
        async with FakeWorker("a", client.address, tmp_path):
            await eventually(lambda: client.routes == {"m/1": [{"a"}, {"a"}]})


async def test_a_worker_that_comes_gets_a_share_and_the_route_is_never_incomplete(mesh, tmp_path):
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


async def test_a_worker_of_another_class_does_not_get_a_plan_that_is_tied(mesh, tmp_path):
    async with mesh("a") as (client, a):
        await client.deploy(stages=4)
        async with FakeWorker("b", client.address, tmp_path, attributes={"cpu.class": "arm"}) as b:
            await client.joined(b)
            await a.die()
            await eventually(lambda: client.routes == {"m/1": [set()] * 4})
            assert "no worker satisfies the CPU class 'x86'" in (await model_state(client))[1]
            assert not b.commands


async def test_a_worker_that_drains_is_not_routed_to_and_gets_nothing_new(mesh):
    async with mesh("a", "b") as (client, a, b):
        await client.deploy(stages=2)
        await a.drain()
        await eventually(lambda: client.routes == {"m/1": [{"b"}, {"b"}]})
        assert not any(command.startswith("evict") for command in a.commands)
        assert [worker.draining for worker in (await client.status()).workers] == [True, False]
        await client.deploy(b"other", name="n")
        assert len(a.commands) == 1
        assert "Prepare" in b.calls


async def test_deploying_again_what_nobody_can_run_now_says_so(mesh):
    async with mesh("a") as (client, a):
        await client.deploy()
        await a.die()
        await eventually(lambda: client.routes == {"m/1": [set()]})
        with pytest.raises(Unsatisfiable, match="no worker has joined"):
            await client.deploy()


async def test_a_ghost_is_evicted(mesh, tmp_path):
    held = {"old/1/0": "d" * 64}
    async with mesh() as (client,), FakeWorker("a", client.address, tmp_path, held=held) as a:
        await eventually(lambda: a.commands == ["evict old/1/0"] and not a.held)


async def test_a_scheduler_on_the_same_state_serves_the_same_without_asking_workers_for_anything(
    settings, tmp_path, blobs
):
    async with scheduler_app(settings) as serving:
        address = serving.address
        client = await SchedulerClient(address).__aenter__()
        a = await FakeWorker("a", address, tmp_path).__aenter__()
        b = await FakeWorker("b", address, tmp_path).__aenter__()
        await client.joined(a, b)
        await client.deploy(stages=2, replicas=2)
        await eventually(lambda: client.routes == {"m/1": [{"a", "b"}] * 2})
        num_tables = len(client.tables)
    try:
        assert len(client.tables) == num_tables, "the end of a scheduler is no news of workers"
        commands, kept = [*a.commands, *b.commands], blobs()
        async with scheduler_app(settings.model_copy(update={"listen": address})):
            await eventually(lambda: len(client.tables) > num_tables)
            await client.joined(a, b)
            # The first table of the new scheduler is complete, and newer than any before.
            first = client.tables[num_tables]
            assert all(len(stage.replicas) == 2 for stage in first.models[0].stages)
            assert first.epoch > client.tables[num_tables - 1].epoch
            assert (await model_state(client))[0] == "READY"
            assert (await client.deploy(stages=2, replicas=2)).version == 1
            assert ([*a.commands, *b.commands], blobs()) == (commands, kept)
            assert [call for call in a.calls + b.calls if call != "MeasureLinks"] == ["Prepare", "Cut"]
    finally:
        for each in (a, b, client):
            await each.__aexit__(None, None, None)


async def test_a_scheduler_that_comes_back_to_new_workers_places_from_its_own_blobs(settings, tmp_path):
    async with (
        scheduler_app(settings) as serving,
        SchedulerClient(serving.address) as client,
        FakeWorker("a", serving.address, tmp_path) as a,
    ):
        await client.joined(a)
        await client.deploy(stages=2)
    async with (
        scheduler_app(settings.model_copy(update={"settle_s": 0.1})) as serving,
        SchedulerClient(serving.address) as client,
        FakeWorker("fresh", serving.address, tmp_path / "elsewhere") as fresh,
    ):
        await eventually(lambda: client.routes == {"m/1": [{"fresh"}, {"fresh"}]})
        assert not fresh.calls


async def test_blobs_that_nobody_needs_are_gone_after_a_restart(settings, blobs):
    async with scheduler_app(settings):
        pass
    stray = settings.state / "blobs" / "ab" / ("ab" * 32)
    stray.parent.mkdir()
    stray.write_bytes(b"stray")
    (settings.state / "blobs" / "incoming" / "half").write_bytes(b"half")
    async with scheduler_app(settings):
        assert not blobs()


async def test_two_schedulers_cannot_share_a_state_folder(settings):
    async with scheduler_app(settings):
        with pytest.raises(Conflict, match="another scheduler uses"):
            async with scheduler_app(settings):
                pass


async def test_a_newer_generation_replaces_the_older_and_survives_its_end(mesh, tmp_path):
    async with mesh("a") as (client, old):
        await client.deploy(stages=1)
        async with FakeWorker("a", client.address, tmp_path / "new") as new:
            await eventually(lambda: client.addresses == {new.address})
            await old.die()
            (worker,) = (await client.status()).workers
            assert worker.generation == new.generation
            assert client.addresses == {new.address}


async def test_who_falls_silent_is_dropped(settings):
    settings = settings.model_copy(update={"registration_silence_s": 0.3})
    async with (
        scheduler_app(settings) as serving,
        SchedulerClient(serving.address) as client,
        open_channel(serving.address) as channel,
    ):
        call = RegistryStub(channel).Register()
        silent = Instance(id="g", role="gateway", address="127.0.0.1:1", generation=1)
        while [gateway.id for gateway in (await client.status()).gateways] != ["g"]:
            await call.write(RegisterRequest(instance=silent))
            await call.read()
        await client.until(lambda status: not status.gateways)
        call.cancel()


async def test_a_new_watcher_gets_the_table_at_once_and_an_epoch_counts_changes_only(mesh):
    async with mesh("a") as (client, _a):
        await client.deploy()
        await eventually(lambda: client.routes)
        epoch = (await client.status()).epoch
        async with SchedulerClient(client.address) as other:
            await eventually(lambda: other.routes == client.routes)
        assert (await client.status()).epoch == epoch == client.tables[-1].epoch
        assert [t.epoch for t in client.tables] == sorted({t.epoch for t in client.tables})


async def test_a_worker_that_describes_itself_anew_keeps_its_stages_and_its_stream(mesh):
    """What it learned of itself later is known; nothing is placed, evicted or connected again."""
    async with mesh("a", "b") as (client, a, b):
        await client.deploy(stages=2)
        await eventually(lambda: client.routes == {"m/1": [{"a"}, {"b"}]})
        commands, streams = [*a.commands, *b.commands], len(a.managing)
        known = a.registration.instance
        a.registration.update(replace(known, attributes={**known.attributes, "speed.flops_per_s": "5.0"}))
        await client.until(lambda status: "speed.flops_per_s" in status.workers[0].attributes)
        assert ([*a.commands, *b.commands], len(a.managing)) == (commands, streams)
        assert client.routes == {"m/1": [{"a"}, {"b"}]}
