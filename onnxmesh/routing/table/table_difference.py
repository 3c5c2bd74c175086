"""Difference between two route tables. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass

from onnxmesh.ids import ModelKey, ModelName, StageKey, Version, WorkerId
from onnxmesh.routing.table.member import Member, replicas_of
from onnxmesh.routing.table.table import RoutingTable
from onnxmesh.v1.mesh_pb2 import RouteChange


@dataclass(frozen=True, slots=True)
class TableDifference:
    """Changes from one table to the next.

    Attributes:
        models: Versions that were added, changed or removed.
        removed_models: Those among them that were removed.
        removed_stages: Stages that are no longer in the table.
        workers: Workers that were added or restarted, or that have another address.
        removed_workers: Workers that are neither listed nor named by a model any more.
    """

    models: Set[ModelKey]
    removed_models: Set[ModelKey]
    removed_stages: Set[StageKey]
    workers: Mapping[WorkerId, Member]
    removed_workers: Set[WorkerId]


def difference(
    before: RoutingTable, after: RoutingTable, change: RouteChange | None = None
) -> TableDifference:
    """Returns the changes from `before` to `after`.

    Args:
        before: The previous table.
        after: The table now.
        change: The message that made `after` of `before`, so that only what it names is compared; None: everything is.
    """
    models = before.models.keys() | after.models.keys() if change is None else _models_in(change)
    workers = before.workers.keys() | after.workers.keys() if change is None else _workers_in(change)
    models = {key for key in models if before.models.get(key) is not after.models.get(key)}
    if change is not None:
        for key in models:
            workers |= replicas_of(before.models.get(key)).keys() | replicas_of(after.models.get(key)).keys()
    return TableDifference(
        models=models,
        removed_models={key for key in models if key not in after.models},
        removed_stages=_stages(before, models) - _stages(after, models),
        workers={
            worker: now
            for worker in workers
            if (now := after.workers.get(worker)) is not None
            and now.address
            and _endpoint(now) != _endpoint(before.workers.get(worker))
        },
        removed_workers={
            worker for worker in workers if worker in before.workers and worker not in after.workers
        },
    )


def _models_in(change: RouteChange) -> set[ModelKey]:
    changed = {(ModelName(each.name), Version(each.version)) for each in change.models}
    return changed | {(ModelName(each.name), Version(each.version)) for each in change.removed_models}


def _workers_in(change: RouteChange) -> set[WorkerId]:
    return {WorkerId(id_) for id_ in (*change.removed_workers, *(each.worker for each in change.workers))}


def _stages(table: RoutingTable, keys: Iterable[ModelKey]) -> set[StageKey]:
    models = (model for key in keys if (model := table.models.get(key)) is not None)
    return {stage.key for model in models for stage in model.stages}


def _endpoint(member: Member | None) -> tuple[str, int] | None:
    return None if member is None else (member.address, member.generation)
