"""The route table, laid out for the lookups that every request makes."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import accumulate

from onnxmesh.errors import InvalidRequest, NotFound
from onnxmesh.ids import ModelName, Version, WorkerId
from onnxmesh.routing.table.member import NOBODY, Member, ModelKey, describe_members, members_of, moved
from onnxmesh.routing.table.random_source import RandomSource
from onnxmesh.routing.table.routed_model import RoutedModel
from onnxmesh.routing.table.worker_facts import NO_FACTS, WorkerFacts
from onnxmesh.v1 import mesh_pb2


class RoutingTable:
    """An immutable view of a scheduler's route table.

    Args:
        epoch: Grows with every change.
        models: Every deployed version of every model.
        versions: The same by name, the newest first.
        workers: Everyone that the table lists or that a model names. One that no model names is only let finish.
    """

    __slots__ = ("_models", "_versions", "epoch", "workers")

    def __init__(
        self,
        epoch: int,
        models: Mapping[ModelKey, RoutedModel],
        versions: Mapping[str, tuple[RoutedModel, ...]],
        workers: Mapping[WorkerId, Member],
    ) -> None:
        self.epoch = epoch
        self.workers = workers
        self._models = models
        self._versions = versions

    @classmethod
    def from_proto(cls, table: mesh_pb2.RouteTable) -> RoutingTable:
        """Reads what a scheduler sent.

        Raises:
            ValueError: It names a datatype that this release does not know.
        """
        facts = {WorkerId(worker.worker): _facts(worker) for worker in table.workers}
        models = {
            (model.name, model.version): model
            for model in (RoutedModel.from_proto(each, facts) for each in table.models)
        }
        return cls(table.epoch, models, _by_name(models.values()), members_of(models, facts))

    def apply(self, change: mesh_pb2.RouteChange) -> RoutingTable:
        """Returns the table that a change makes of this one; what it does not touch is shared.

        Takes as long as the change is large.

        Raises:
            ValueError: It names a datatype that this release does not know.
        """
        workers = dict(self.workers)
        facts: dict[WorkerId, WorkerFacts | None] = {WorkerId(id_): None for id_ in change.removed_workers}
        facts.update((WorkerId(worker.worker), _facts(worker)) for worker in change.workers)
        changed: dict[ModelKey, RoutedModel | None] = {}
        for worker, each in facts.items():
            for key in workers.get(worker, NOBODY).models:
                model = changed.get(key) or self._models[key]
                changed[key] = model.described(worker, each or NO_FACTS)
            describe_members(workers, worker, each)
        changed.update(
            ((ModelName(gone.name), Version(gone.version)), None) for gone in change.removed_models
        )
        for message in change.models:
            named = {WorkerId(replica.worker) for stage in message.stages for replica in stage.replicas}
            known = {id_: workers.get(id_, NOBODY).facts or NO_FACTS for id_ in named}
            model = RoutedModel.from_proto(message, known)
            changed[model.name, model.version] = model
        models = dict(self._models)
        for key, now in changed.items():
            moved(workers, key, models.pop(key, None), now)
            if now is not None:
                models[key] = now
        versions = dict(self._versions)
        fresh = _by_name(each for each in changed.values() if each is not None)
        for name in {name for name, _ in changed}:
            kept = (each for each in versions.pop(name, ()) if (each.name, each.version) not in changed)
            versions.update(_by_name((*kept, *fresh.get(name, ()))))
        return RoutingTable(change.epoch, models, versions, workers)

    @property
    def names(self) -> tuple[ModelName, ...]:
        """Every model's name, in alphabetical order."""
        return tuple(ModelName(name) for name in sorted(self._versions))

    @property
    def models(self) -> Mapping[ModelKey, RoutedModel]:
        """Every version of every model."""
        return self._models

    @property
    def is_complete(self) -> bool:
        """Whether every version of every model has a complete route."""
        return all(model.is_complete for model in self._models.values())

    def get(self, name: ModelName, version: Version) -> RoutedModel | None:
        """Returns that version of that model, or None."""
        return self._models.get((name, version))

    def versions(self, name: str) -> tuple[RoutedModel, ...]:
        """Returns every version of a model, the newest first.

        Raises:
            NotFound: There is no such model (NOT_FOUND).
        """
        versions = self._versions.get(name)
        if versions is None:
            deployed = ", ".join(f"'{known}'" for known in self.names) or "none"
            raise NotFound(f"unknown model '{name}': deployed models are {deployed}")
        return versions

    def find(self, name: str, version: str, rng: RandomSource | None = None) -> RoutedModel:
        """Returns the version that a client asks for.

        Args:
            name: The model's name.
            version: A decimal figure; empty means one of those with a complete route: drawn by their parts of the
                traffic or, where versions do not share it, the newest. Where none is complete, the newest.
            rng: Draws; None: the version with the largest part is taken.

        Raises:
            NotFound: There is no such model or version (NOT_FOUND).
            InvalidRequest: `version` is not a figure (INVALID_ARGUMENT).
        """
        versions = self.versions(name)
        if not version:
            return versions[0] if len(versions) == 1 else _drawn(versions, rng)
        if not (version.isascii() and version.isdecimal() and len(version) < 20):
            raise InvalidRequest(f"model '{name}': expected a whole number as version, got '{version}'")
        model = self._models.get((ModelName(name), Version(int(version))))
        if model is None:
            known = ", ".join(str(model.version) for model in reversed(versions))
            raise NotFound(f"model '{name}' has no version {int(version)}: deployed versions are {known}")
        return model


EMPTY_TABLE = RoutingTable(0, {}, {}, {})
"""What a gateway knows before it has heard of a scheduler."""


def _drawn(versions: tuple[RoutedModel, ...], rng: RandomSource | None) -> RoutedModel:
    """Returns one of several versions, the newest first."""
    complete = [model for model in versions if model.is_complete] or [versions[0]]
    parts = [model.traffic_percent or 0 for model in complete]
    if not any(parts):
        return complete[0]
    if rng is None:
        return complete[parts.index(max(parts))]
    drawn = rng.random() * sum(parts)
    return complete[bisect_right(list(accumulate(parts)), drawn)]


def _by_name(models: Iterable[RoutedModel]) -> dict[str, tuple[RoutedModel, ...]]:
    by_name: defaultdict[str, list[RoutedModel]] = defaultdict(list)
    for model in models:
        by_name[model.name].append(model)
    return {name: tuple(sorted(each, key=lambda model: -model.version)) for name, each in by_name.items()}


def _facts(worker: mesh_pb2.RoutedWorker) -> WorkerFacts:
    return WorkerFacts(tuple(worker.tags), dict(worker.attributes))
