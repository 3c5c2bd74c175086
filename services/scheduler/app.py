"""The scheduler service: alone, or in a highly available group."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from onnxmesh.service.serving import Serving
from services.scheduler.high_availability import highly_available_scheduler
from services.scheduler.settings import SchedulerSettings
from services.scheduler.standalone import standalone_scheduler


@asynccontextmanager
async def scheduler_app(settings: SchedulerSettings) -> AsyncIterator[Serving]:
    """Serves for the time of the context: in Consul's group of schedulers where one is configured, else alone.

    Raises:
        Conflict: Another scheduler uses the state folder (ALREADY_EXISTS).
        CorruptData: The state folder cannot be read (DATA_LOSS).
    """
    access = settings.consul_access()
    running = (
        standalone_scheduler(settings) if access is None else highly_available_scheduler(settings, access)
    )
    async with running as serving:
        yield serving
