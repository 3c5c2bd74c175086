"""A real scheduler in this process, on a free port."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest

from services.scheduler.app import scheduler_app
from services.scheduler.settings import SchedulerSettings
from tests.fakes.fake_worker import FakeWorker
from tests.integration.scheduler.scheduler_client import SchedulerClient


@pytest.fixture
def settings(tmp_path):
    return SchedulerSettings(
        state=tmp_path / "state",
        drain_s=0.05,
        # None of these is reached, however busy the machine is: tests that see one end set it themselves.
        settle_s=600.0,
        deploy_timeout_s=600.0,
        registration_silence_s=600.0,
        linger_s=0.0,
        move_after_s=0.0,
    )


@pytest.fixture
def mesh(settings, tmp_path):
    """`async with mesh("a", "b") as (client, a, b)`: a scheduler, a client, and joined workers.

    Attributes are given by worker; other arguments are settings of the scheduler.
    """

    @asynccontextmanager
    async def run(*ids, attributes=None, **changes):
        changed = settings.model_copy(update=changes)
        async with scheduler_app(changed) as serving, SchedulerClient(serving.address) as client:
            workers = [
                FakeWorker(id_, serving.address, tmp_path, attributes=(attributes or {}).get(id_))
                for id_ in ids
            ]
            try:
                for worker in workers:
                    await worker.__aenter__()
                await client.joined(*workers)
                yield (client, *workers)
            finally:
                for worker in workers:
                    await worker.die()

    return run


@pytest.fixture
def blobs(settings):
    """Returns every file in the scheduler's blob folder, half-written ones too."""

    def files():
        return {path.name for path in (settings.state / "blobs").rglob("*") if path.is_file()}

    return files
