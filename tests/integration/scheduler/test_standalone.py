"""A scheduler that is restarted on its state folder."""

from __future__ import annotations

from services.scheduler.app import scheduler_app
from tests.eventually import eventually
from tests.fakes.fake_worker import FakeWorker
from tests.integration.scheduler.scheduler_client import SchedulerClient


async def model_state(client):
    (model,) = (await client.status()).models
    return model.state, model.reason


async def test_restarted_scheduler_serves_the_same_without_a_command(settings, tmp_path, blobs):
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


async def test_restarted_scheduler_places_on_new_workers_from_its_own_blobs(settings, tmp_path):
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


async def test_restarted_scheduler_removes_blobs_that_are_not_needed(settings, blobs):
    async with scheduler_app(settings):
        pass
    stray = settings.state / "blobs" / "ab" / ("ab" * 32)
    stray.parent.mkdir()
    stray.write_bytes(b"stray")
    (settings.state / "blobs" / "incoming" / "half").write_bytes(b"half")
    async with scheduler_app(settings):
        assert not blobs()
