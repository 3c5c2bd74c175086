"""Route table of a gateway, indexed for the lookups of every request."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import accumulate

from onnxmesh.error_text import did_you_mean, listed
from onnxmesh.errors import InvalidRequest, NotFound
from onnxmesh.ids import ModelKey, ModelName, Version, WorkerId
from onnxmesh.routing.table.member import ABSENT_MEMBER, Member, members_of, set_facts, update_members
from onnxmesh.routing.table.random_source import RandomSource
from onnxmesh.routing.table.routed_model import RoutedModel
from onnxmesh.routing.table.worker_facts import NO_FACTS, WorkerFacts
from onnxmesh.v1 import mesh_pb2


class RoutingTable:
    """Immutable route table as published by a scheduler.

    Args:
        epoch: Increases with every change.
        models: Every deployed version of every model.
        versions: The same by name, newest first.
        workers: Every worker that the table lists or that a model names; one that no model names only finishes its requests.
    """

    __slots__ = ("_models", "_versions", "epoch", "workers")

    def __init__(
        self,
        epoch: int,
        models: Mapping[ModelKey, RoutedModel],
        versions: Mapping[str, tuple[RoutedModel, ...]],
        *,
        workers: Mapping[WorkerId, Member],
    ) -> None:
        self.epoch = epoch
        self.workers = workers
        self._models = models
        self._versions = versions

    @classmethod
    def from_proto(cls, table: mesh_pb2.RouteTable) -> RoutingTable:
        """Converts the message of a scheduler.

        Raises:
            ValueError: It has a datatype that this release does not know.
        """
        facts = {WorkerId(worker.worker): _facts(worker) for worker in table.workers}
        models = {
            (model.name, model.version): model
            for model in (RoutedModel.from_proto(each, facts) for each in table.models)
        }
        return cls(table.epoch, models, _by_name(models.values()), workers=members_of(models, facts))

    def apply(self, change: mesh_pb2.RouteChange) -> RoutingTable:
        """Returns the table after a change; unchanged models and workers are shared with this one.

        The time is proportional to the size of the change.

        Raises:
            ValueError: It has a datatype that this release does not know.
        """
        workers = dict(self.workers)
        facts: dict[WorkerId, WorkerFacts | None] = {WorkerId(id_): None for id_ in change.removed_workers}
        facts.update((WorkerId(worker.worker), _facts(worker)) for worker in change.workers)
        changed: dict[ModelKey, RoutedModel | None] = {}
        for worker, each in facts.items():
            for key in workers.get(worker, ABSENT_MEMBER).models:
                model = changed.get(key) or self._models[key]
                changed[key] = model.with_facts(worker, each or NO_FACTS)
            set_facts(workers, worker, each)
        changed.update(
            ((ModelName(removed.name), Version(removed.version)), None) for removed in change.removed_models
        )
        for message in change.models:
            named = {WorkerId(replica.worker) for stage in message.stages for replica in stage.replicas}
            known = {id_: workers.get(id_, ABSENT_MEMBER).facts or NO_FACTS for id_ in named}
            model = RoutedModel.from_proto(message, known)
            changed[model.name, model.version] = model
        models = dict(self._models)
        for key, now in changed.items():
            update_members(workers, key, models.pop(key, None), now)
            if now is not None:
                models[key] = now
        versions = dict(self._versions)
        fresh = _by_name(each for each in changed.values() if each is not None)
        for name in {name for name, _ in changed}:
            kept = (each for each in versions.pop(name, ()) if (each.name, each.version) not in changed)
            versions.update(_by_name((*kept, *fresh.get(name, ()))))
        return RoutingTable(change.epoch, models, versions, workers=workers)

    @property
    def names(self) -> tuple[ModelName, ...]:
        """The names of all models, in alphabetical order."""
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
            names = self.names
            raise NotFound(
                f"unknown model '{name}': deployed models are {listed(names)}{did_you_mean(name, names)}"
            )
        return versions

    def find(self, name: str, version: str, rng: RandomSource | None = None) -> RoutedModel:
        """Returns the version that a request is for.

        Args:
            name: The model's name.
            version: A decimal number; empty means one of those with a complete route: drawn by the traffic split or,
                without one, the newest. Where none is complete, the newest.
            rng: Source of the draw; None: the version with the largest share is taken.

        Raises:
            NotFound: There is no such model or version (NOT_FOUND).
            InvalidRequest: `version` is not a number (INVALID_ARGUMENT).
        """
        versions = self.versions(name)
        if not version:
            return versions[0] if len(versions) == 1 else _drawn(versions, rng)
        if not (version.isascii() and version.isdecimal() and len(version) < 20):
            raise InvalidRequest(f"model '{name}': expected a whole number as version, got '{version}'")
        model = self._models.get((ModelName(name), Version(int(version))))
        if model is None:
            known = listed((each.version for each in reversed(versions)), quoted=False)
            raise NotFound(f"model '{name}' has no version {int(version)}: deployed versions are {known}")
        return model


EMPTY_TABLE = RoutingTable(0, {}, {}, workers={})
"""The table of a gateway that has not received one yet."""


def _drawn(versions: tuple[RoutedModel, ...], rng: RandomSource | None) -> RoutedModel:
    """Returns one of several versions, given newest first, by the traffic split."""
    complete = [model for model in versions if model.is_complete] or [versions[0]]
    shares = [model.traffic_percent or 0 for model in complete]
    if not any(shares):
        return complete[0]
    if rng is None:
        return complete[shares.index(max(shares))]
    drawn = rng.random() * sum(shares)
    return complete[bisect_right(list(accumulate(shares)), drawn)]


def _by_name(models: Iterable[RoutedModel]) -> dict[str, tuple[RoutedModel, ...]]:
    by_name: defaultdict[str, list[RoutedModel]] = defaultdict(list)
    for model in models:
        by_name[model.name].append(model)
    return {name: tuple(sorted(each, key=lambda model: -model.version)) for name, each in by_name.items()}


def _facts(worker: mesh_pb2.RoutedWorker) -> WorkerFacts:
    return WorkerFacts(tuple(worker.tags), dict(worker.attributes))
