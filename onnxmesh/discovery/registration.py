"""Registration of this process, as far as the process knows."""

from __future__ import annotations

import asyncio

from onnxmesh.discovery.instance import Instance


class Registration:
    """State of one process's own registration.

    Args:
        instance: The process.
    """

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._held = asyncio.Event()

    @property
    def instance(self) -> Instance:
        """The process as it is to be registered now."""
        return self._instance

    def update(self, instance: Instance) -> None:
        """Changes tags and attributes; id, address and generation must stay. The registrar passes the change on."""
        self._instance = instance

    @property
    def held(self) -> bool:
        """Whether the registry has this process, as far as is known."""
        return self._held.is_set()

    def mark_held(self) -> None:
        """Records that the registry has this process; for registrars."""
        self._held.set()

    def mark_lost(self) -> None:
        """Records that the registry is unreachable or refused; for registrars."""
        self._held.clear()

    async def wait(self) -> None:
        """Returns once the registry has this process."""
        await self._held.wait()
