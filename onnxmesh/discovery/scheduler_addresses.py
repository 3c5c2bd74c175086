"""Addresses of the schedulers of a mesh: configured, or discovered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from onnxmesh.discovery.base import Directory


class SchedulerAddresses(Protocol):
    """Port of the addresses of schedulers; each serves reads and forwards everything else to the leader."""

    @property
    def addresses(self) -> Sequence[str]:
        """The known addresses."""
        ...

    @property
    def why_none(self) -> str:
        """Why no address is known, in words."""
        ...

    async def wait_any(self) -> Sequence[str]:
        """Returns the known addresses, as soon as there is one."""
        ...


class ConfiguredSchedulers:
    """The `SchedulerAddresses` that an operator configured.

    Args:
        addresses: `HOST:PORT` of each.
    """

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = tuple(addresses)

    @property
    def addresses(self) -> Sequence[str]:
        """The configured addresses."""
        return self._addresses

    @property
    def why_none(self) -> str:
        """That none is configured."""
        return "none is configured, by --scheduler or --consul"

    async def wait_any(self) -> Sequence[str]:
        """Returns the configured addresses."""
        return self._addresses


class DiscoveredSchedulers:
    """The `SchedulerAddresses` of the schedulers in a directory.

    Args:
        directory: Follows at least the schedulers.
        why_none: Returns why it has no scheduler, in words.
    """

    def __init__(
        self, directory: Directory, why_none: Callable[[], str] = lambda: "none is registered"
    ) -> None:
        self._directory = directory
        self._why_none = why_none

    @property
    def addresses(self) -> Sequence[str]:
        """The addresses that are registered now."""
        return [each.address for each in self._directory.instances.values() if each.role == "scheduler"]

    @property
    def why_none(self) -> str:
        """What the directory knows of it."""
        return self._why_none()

    async def wait_any(self) -> Sequence[str]:
        """Returns the registered addresses, as soon as there is one."""
        revision = 0
        while not (addresses := self.addresses):
            revision, _ = await self._directory.after(revision)
        return addresses
