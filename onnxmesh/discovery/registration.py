"""One process's view of its own place in the registry."""

from __future__ import annotations

import asyncio


class Registration:
    """What a process knows of its own registration."""

    def __init__(self) -> None:
        self._held = asyncio.Event()

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
