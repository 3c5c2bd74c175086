"""Ports of service discovery: `Registrar` registers this process, `Directory` follows all processes."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Protocol

from onnxmesh.discovery.instance import Instance

if TYPE_CHECKING:
    from onnxmesh.discovery.registration import Registration


class Registrar(Protocol):
    """Port that keeps a process registered."""

    def register(self, instance: Instance) -> AbstractAsyncContextManager[Registration]:
        """Registers `instance` for the duration of the context, again after each outage of the registry.

        Entering does not wait for the registry: `Registration.wait` does.
        """
        ...


class Directory(Protocol):
    """Port that follows the registered processes."""

    @property
    def instances(self) -> Mapping[str, Instance]:
        """Every registered process, by id."""
        ...

    async def after(self, revision: int) -> tuple[int, Mapping[str, Instance]]:
        """Waits for a revision greater than `revision` (0: any) and returns it with its instances."""
        ...
