"""One process's view of its own place in the registry."""

from __future__ import annotations

import asyncio

from onnxmesh.discovery.instance import Instance


class Registration:
    """What a process knows of its own registration.

    Args:
        instance: How it describes itself.
    """

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._held = asyncio.Event()

    @property
    def instance(self) -> Instance:
        """How the process describes itself now."""
        return self._instance

    def update(self, instance: Instance) -> None:
        """Describes the process anew: same id, address and generation. The registry learns of it in time."""
        self._instance = instance

    @property
    def held(self) -> bool:
        """Whether the registry has this process, as far as is known."""
        return self._held.is_set()

    def gained(self) -> None:
        """Says that the registry answered; for registrars."""
        self._held.set()

    def lost(self) -> None:
        """Says that the registry went away; for registrars."""
        self._held.clear()

    async def wait(self) -> None:
        """Returns once the registry has this process."""
        await self._held.wait()
