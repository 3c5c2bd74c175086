"""The ports of discovery: registering oneself and following the others."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Protocol

from onnxmesh.discovery.instance import Instance

if TYPE_CHECKING:
    from onnxmesh.discovery.registration import Registration


class Registrar(Protocol):
    """Keeps a process registered."""

    def register(self, instance: Instance) -> AbstractAsyncContextManager[Registration]:
        """Registers `instance` for the time of the context, and again whenever the registry comes back.

        Entering does not wait for the registry: `Registration.wait` does.
        """
        ...


class Directory(Protocol):
    """Follows who is in the mesh."""

    @property
    def instances(self) -> Mapping[str, Instance]:
        """Everyone registered now, by id."""
        ...

    async def after(self, revision: int) -> tuple[int, Mapping[str, Instance]]:
        """Waits for a revision greater than `revision` (0: for none) and returns it with everyone then."""
        ...
