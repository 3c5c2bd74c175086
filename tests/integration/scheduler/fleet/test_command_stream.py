"""The command stream to one worker."""

from __future__ import annotations

from dataclasses import replace

from tests.eventually import eventually
from tests.fakes.fake_worker import FakeWorker


async def test_worker_that_drains_is_not_routed_to_and_gets_no_command(mesh):
    async with mesh("a", "b") as (client, a, b):
        await client.deploy(stages=2)
        await a.drain()
        await eventually(lambda: client.routes == {"m/1": [{"b"}, {"b"}]})
        assert not any(command.startswith("evict") for command in a.commands)
        assert [worker.draining for worker in (await client.status()).workers] == [True, False]
        await client.deploy(b"other", name="n")
        assert len(a.commands) == 1
        assert "Prepare" in b.calls


async def test_command_stream_evicts_a_stage_that_is_not_deployed(mesh, tmp_path):
    held = {"old/1/0": "d" * 64}
    async with mesh() as (client,), FakeWorker("a", client.address, tmp_path, held=held) as a:
        await eventually(lambda: a.commands == ["evict old/1/0"] and not a.held)


async def test_command_stream_survives_new_attributes_of_its_worker(mesh):
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
