"""Where the schedulers of a mesh are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from onnxmesh.discovery.base import Directory


class Schedulers(Protocol):
    """Knows the addresses of schedulers; any of them serves reads and passes the rest on to the one that leads."""

    @property
    def addresses(self) -> Sequence[str]:
        """Those that are known now."""
        ...

    async def some(self) -> Sequence[str]:
        """Returns those that are known, as soon as there is one."""
        ...


class NamedSchedulers:
    """The `Schedulers` that an operator named.

    Args:
        addresses: `HOST:PORT` of each, at least one.
    """

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = tuple(addresses)

    @property
    def addresses(self) -> Sequence[str]:
        """Those that were named."""
        return self._addresses

    async def some(self) -> Sequence[str]:
        """Returns those that were named."""
        return self._addresses


class FoundSchedulers:
    """The `Schedulers` that registered.

    Args:
        directory: Follows at least the schedulers.
    """

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    @property
    def addresses(self) -> Sequence[str]:
        """Those that are registered now."""
        return [each.address for each in self._directory.instances.values() if each.role == "scheduler"]

    async def some(self) -> Sequence[str]:
        """Returns those that are registered, as soon as there is one."""
        revision = 0
        while not (addresses := self.addresses):
            revision, _ = await self._directory.after(revision)
        return addresses
