"""Services that live and end together."""

from __future__ import annotations

import asyncio
from typing import Any, NoReturn

from onnxmesh.errors import MeshError
from onnxmesh.supervisor.service_manager import ServiceManager


class ServiceGroup:
    """Keeps services alive side by side.

    Use as an async context manager: leaving it, however that comes, stops all of them at once and waits until they have
    ended. A service that cannot be kept ends the context, and the others with it.

    Raises:
        MeshError: What a service could not be kept for; where several could not, the first, which the others followed from.
    """

    def __init__(self) -> None:
        self._tasks = asyncio.TaskGroup()
        self._keepers: list[ServiceManager] = []
        self._keeping: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> ServiceGroup:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, *failure: Any) -> None:
        for task in self._keeping:
            # Where one could not be kept the others are stopping already: a second cancel would cut that short.
            if not task.cancelling():
                task.cancel()
        try:
            await self._tasks.__aexit__(*failure)
        except ExceptionGroup as failures:
            _raise_first(failures)

    def keep(self, keeper: ServiceManager) -> None:
        """Starts a service, and keeps it."""
        self._keepers.append(keeper)
        self._keeping.append(self._tasks.create_task(keeper.keep(), name=keeper.name))

    def kill(self) -> None:
        """Ends every process by force, at once."""
        for keeper in self._keepers:
            keeper.kill()


def _raise_first(failures: ExceptionGroup[Exception]) -> NoReturn:
    expected = failures.subgroup(MeshError)
    if expected is None:
        raise failures
    first: BaseException = expected
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    raise first
