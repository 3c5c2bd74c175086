"""A worker as a route table knows it. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from onnxmesh.ids import ModelName, Version, WorkerId
from onnxmesh.routing.table.routed_model import Replica, RoutedModel
from onnxmesh.routing.table.worker_facts import WorkerFacts

ModelKey = tuple[ModelName, Version]
"""One version of a model."""


@dataclass(frozen=True, slots=True)
class Member:
    """A worker that a route table lists, or that one of its models names.

    Attributes:
        address: HOST:PORT at which it is reached; empty where no model names it: it is only let finish.
        generation: Which start of that worker it is; 0 where no model names it.
        facts: What it says of itself; None where the table does not list it.
        models: Those that have a replica there.
    """

    address: str = ""
    generation: int = 0
    facts: WorkerFacts | None = None
    models: frozenset[ModelKey] = frozenset()

    def entered(self, key: ModelKey, replica: Replica) -> Member:
        """Returns the same worker with a replica of a model."""
        where = (replica.address, replica.generation)
        if key in self.models and where == (self.address, self.generation):
            return self
        return replace(self, address=where[0], generation=where[1], models=self.models | {key})

    def left(self, key: ModelKey) -> Member:
        """Returns the same worker without a replica of a model."""
        models = self.models - {key}
        return replace(self, models=models) if models else Member(facts=self.facts)

    @property
    def is_there(self) -> bool:
        """Whether the table still knows of it."""
        return bool(self.models) or self.facts is not None


NOBODY = Member()
"""A worker that nothing is known of."""


def members_of(
    models: Mapping[ModelKey, RoutedModel], facts: Mapping[WorkerId, WorkerFacts]
) -> dict[WorkerId, Member]:
    """Returns everyone that a whole table lists or names."""
    replicas: dict[WorkerId, Replica] = {}
    held: defaultdict[WorkerId, list[ModelKey]] = defaultdict(list)
    for key, model in models.items():
        for worker, replica in replicas_of(model).items():
            replicas[worker] = replica
            held[worker].append(key)
    members = {worker: Member(facts=each) for worker, each in facts.items() if worker not in replicas}
    for worker, replica in replicas.items():
        members[worker] = Member(
            replica.address, replica.generation, facts.get(worker), frozenset(held[worker])
        )
    return members


def moved(
    members: dict[WorkerId, Member], key: ModelKey, before: RoutedModel | None, after: RoutedModel | None
) -> None:
    """Changes `members` as a model's workers change, in time proportional to these."""
    now = replicas_of(after)
    for worker in replicas_of(before).keys() - now.keys():
        members[worker] = members[worker].left(key)
        drop_if_gone(members, worker)
    for worker, replica in now.items():
        members[worker] = members.get(worker, NOBODY).entered(key, replica)


def describe_members(members: dict[WorkerId, Member], worker: WorkerId, facts: WorkerFacts | None) -> None:
    """Changes what a worker says of itself; None: the table lists it no longer."""
    members[worker] = replace(members.get(worker, NOBODY), facts=facts)
    drop_if_gone(members, worker)


def drop_if_gone(members: dict[WorkerId, Member], worker: WorkerId) -> None:
    """Removes a worker that the table neither lists nor names."""
    if not members[worker].is_there:
        del members[worker]


def replicas_of(model: RoutedModel | None) -> dict[WorkerId, Replica]:
    """Returns the workers of a model, each with one of its replicas there."""
    stages: Iterable[tuple[Replica, ...]] = () if model is None else (each.replicas for each in model.stages)
    return {replica.worker: replica for replicas in stages for replica in replicas}
