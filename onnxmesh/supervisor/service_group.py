"""Group of services that run together and stop together."""

from __future__ import annotations

import asyncio
from typing import Any, NoReturn

from onnxmesh.errors import MeshError
from onnxmesh.supervisor.service_manager import ServiceManager


class ServiceGroup:
    """Runs several services side by side.

    Use as an async context manager: leaving it in any way stops all services at once and waits for their end. A service
    whose manager gives up ends the context, and the other services with it.

    Raises:
        MeshError: Why a manager gave up; of several errors the first, which caused the others.
    """

    def __init__(self) -> None:
        self._tasks = asyncio.TaskGroup()
        self._managers: list[ServiceManager] = []
        self._running: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> ServiceGroup:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, *failure: Any) -> None:
        for task in self._running:
            # After one failed, the others are already stopping: a second cancel would cut that short.
            if not task.cancelling():
                task.cancel()
        try:
            await self._tasks.__aexit__(*failure)
        except ExceptionGroup as failures:
            _raise_first(failures)

    def start(self, manager: ServiceManager) -> None:
        """Starts a service and keeps it running."""
        self._managers.append(manager)
        self._running.append(self._tasks.create_task(manager.run(), name=manager.name))

    def kill(self) -> None:
        """Kills every process at once."""
        for manager in self._managers:
            manager.kill()


def _raise_first(failures: ExceptionGroup[Exception]) -> NoReturn:
    expected = failures.subgroup(MeshError)
    if expected is None:
        raise failures
    first: BaseException = expected
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    raise first
