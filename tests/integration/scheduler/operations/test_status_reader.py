"""The status of the mesh."""

from __future__ import annotations

from tests.eventually import eventually
from tests.integration.scheduler.scheduler_client import SchedulerClient


async def test_watch_gets_the_table_at_once_and_an_epoch_counts_changes_only(mesh):
    async with mesh("a") as (client, _a):
        await client.deploy()
        await eventually(lambda: client.routes)
        epoch = (await client.status()).epoch
        async with SchedulerClient(client.address) as other:
            await eventually(lambda: other.routes == client.routes)
        assert (await client.status()).epoch == epoch == client.tables[-1].epoch
        assert [t.epoch for t in client.tables] == sorted({t.epoch for t in client.tables})
