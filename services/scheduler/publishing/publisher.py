"""The publisher: the leader's route table in force, and its watchers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from onnxmesh.ids import ModelKey, WorkerId
from onnxmesh.latest import Latest
from onnxmesh.v1.mesh_pb2 import RoutedModel, RoutedWorker, RouteUpdate
from services.scheduler.route_table.published_table import PublishedTable, as_updates


class Publisher:
    """Numbers route tables and publishes them to watchers. For one event loop.

    Until the first `publish` watchers wait: a scheduler that has just started does not know yet what workers hold, and
    gateways do better with the table they have.

    Args:
        term: Epochs begin here; greater than that of any scheduler before.
    """

    def __init__(self, term: int) -> None:
        self._latest = Latest(PublishedTable(term, {}, {}))

    @property
    def table(self) -> PublishedTable:
        """The table in force."""
        return self._latest.value

    def publish(
        self, models: Mapping[ModelKey, RoutedModel], workers: Mapping[WorkerId, RoutedWorker]
    ) -> None:
        """Puts a table in force, under the next epoch; the same objects as before change nothing.

        Args:
            models: The models that can be routed to, with their replicas. Immutable from now on.
            workers: Tags and attributes of the workers. The same.
        """
        now = self._latest.value
        if self._latest.revision == 1 or now.differs(models, workers):
            self._latest.set(PublishedTable(now.epoch + 1, models, workers, before=now))

    async def tables(self) -> AsyncIterator[PublishedTable]:
        """Yields the table in force and each newer one; a slow reader gets the newest alone."""
        revision = 1
        while True:
            revision, table = await self._latest.after(revision)
            yield table

    def watch(self) -> AsyncIterator[RouteUpdate]:
        """Yields the whole table, then the changes; a slow reader gets several changes as one."""
        return as_updates(self.tables())
