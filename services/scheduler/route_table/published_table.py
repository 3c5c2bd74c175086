"""One version of the route table, as schedulers publish and relay it. Pure."""

from __future__ import annotations

from collections.abc import AsyncIterator, Hashable, Iterable, Mapping
from typing import TypeVar

from onnxmesh.ids import ModelKey, ModelName, Version, WorkerId
from onnxmesh.v1.mesh_pb2 import (
    ModelVersion,
    RouteChange,
    RoutedModel,
    RoutedWorker,
    RouteTable,
    RouteUpdate,
)

K = TypeVar("K", bound=Hashable)
M = TypeVar("M")


class PublishedTable:
    """An immutable table; consecutive tables share the messages that did not change.

    Changes are found by identity: a message that is another object is sent again. So a message must never be changed,
    and only tables of one lineage can be compared.

    Attributes:
        lineage: The same object in all tables that were made from each other, step by step.

    Args:
        epoch: Grows with every change.
        models: The models that can be routed to, with their replicas.
        workers: Tags and attributes of the workers.
        before: The table that this one was made from; None: it begins a lineage.
    """

    __slots__ = ("_step", "_whole", "epoch", "lineage", "models", "workers")

    def __init__(
        self,
        epoch: int,
        models: Mapping[ModelKey, RoutedModel],
        workers: Mapping[WorkerId, RoutedWorker],
        *,
        before: PublishedTable | None = None,
    ) -> None:
        self.epoch = epoch
        self.models = models
        self.workers = workers
        self.lineage: object = object() if before is None else before.lineage
        self._whole: RouteUpdate | None = None
        self._step: tuple[int, RouteUpdate] | None = None

    @classmethod
    def from_proto(cls, table: RouteTable) -> PublishedTable:
        """Returns the table that another scheduler sent; it begins a lineage."""
        return cls(table.epoch, _models(table.models), _workers(table.workers))

    def differs(
        self, models: Mapping[ModelKey, RoutedModel], workers: Mapping[WorkerId, RoutedWorker]
    ) -> bool:
        """Whether any of these messages is another object than in this table."""
        return (
            len(models) != len(self.models)
            or len(workers) != len(self.workers)
            or bool(_changed(models, self.models))
            or bool(_changed(workers, self.workers))
        )

    def apply(self, change: RouteChange) -> PublishedTable:
        """Returns the table that another scheduler's change makes of this one."""
        models, workers = (
            {**self.models, **_models(change.models)},
            {**self.workers, **_workers(change.workers)},
        )
        for removed in change.removed_models:
            models.pop((ModelName(removed.name), Version(removed.version)), None)
        for id_ in change.removed_workers:
            workers.pop(WorkerId(id_), None)
        return PublishedTable(change.epoch, models, workers, before=self)

    def update(self, held: PublishedTable | None) -> RouteUpdate:
        """Returns what to send to a watcher that has another table: the changes since, or the whole.

        Returns:
            A message that other watchers get as well; do not change it.
        """
        if held is None or held.lineage is not self.lineage:
            if self._whole is None:
                self._whole = RouteUpdate(
                    whole=RouteTable(
                        epoch=self.epoch, models=self.models.values(), workers=self.workers.values()
                    )
                )
            return self._whole
        # Nearly all watchers hold the table before this one.
        if self._step is None or self._step[0] != held.epoch:
            self._step = (held.epoch, RouteUpdate(change=self._change_from(held)))
        return self._step[1]

    def _change_from(self, held: PublishedTable) -> RouteChange:
        return RouteChange(
            from_epoch=held.epoch,
            epoch=self.epoch,
            models=_changed(self.models, held.models),
            removed_models=[
                ModelVersion(name=name, version=version)
                for name, version in held.models.keys() - self.models.keys()
            ],
            workers=_changed(self.workers, held.workers),
            removed_workers=held.workers.keys() - self.workers.keys(),
        )


async def as_updates(tables: AsyncIterator[PublishedTable]) -> AsyncIterator[RouteUpdate]:
    """Yields what to send to one watcher: the whole of the first table, then the changes."""
    held = None
    async for table in tables:
        yield table.update(held)
        held = table


def _changed(now: Mapping[K, M], before: Mapping[K, M]) -> list[M]:
    """Returns the messages that are not the same object as before."""
    return [] if now is before else [each for key, each in now.items() if before.get(key) is not each]


def _models(models: Iterable[RoutedModel]) -> dict[ModelKey, RoutedModel]:
    return {(ModelName(model.name), Version(model.version)): model for model in models}


def _workers(workers: Iterable[RoutedWorker]) -> dict[WorkerId, RoutedWorker]:
    return {WorkerId(worker.worker): worker for worker in workers}
