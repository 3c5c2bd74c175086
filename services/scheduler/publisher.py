"""The route table in force, and those who watch it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from onnxmesh.latest import Latest
from onnxmesh.v1.mesh_pb2 import RoutedModel, RoutedWorker, RouteTable


class Publisher:
    """Numbers route tables and hands them to watchers. For one event loop.

    Until the first `publish` watchers wait: a scheduler that has just started does not know yet who holds
    what, and gateways do better with the table they have.

    Args:
        term: Epochs begin here; greater than that of any scheduler before.
    """

    def __init__(self, term: int) -> None:
        self._latest = Latest(RouteTable(epoch=term))

    @property
    def table(self) -> RouteTable:
        """The table in force; do not change it."""
        return self._latest.value

    def publish(self, models: Sequence[RoutedModel], workers: Sequence[RoutedWorker] = ()) -> None:
        """Puts a table in force, under the next epoch; the same as before changes nothing.

        Args:
            models: What can be routed to, and where.
            workers: What the workers that it names say of themselves.
        """
        now = self._latest.value
        if (
            self._latest.revision == 1
            or list(now.models) != list(models)
            or list(now.workers) != list(workers)
        ):
            self._latest.set(RouteTable(epoch=now.epoch + 1, models=models, workers=workers))

    async def watch(self) -> AsyncIterator[RouteTable]:
        """Yields the table in force and each newer one; who is slow gets the newest alone."""
        revision = 1
        while True:
            revision, table = await self._latest.after(revision)
            yield table
