"""Workers of a route table, each with the models that have a replica there. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from onnxmesh.ids import ModelKey, WorkerId
from onnxmesh.routing.table.routed_model import Replica, RoutedModel
from onnxmesh.routing.table.worker_facts import WorkerFacts


@dataclass(frozen=True, slots=True)
class Member:
    """A worker that a route table lists, or that one of its models names.

    Attributes:
        address: Its HOST:PORT; empty where no model names it: it only finishes its requests.
        generation: Start number of its process; 0 where no model names it.
        facts: Its tags and attributes; None where the table does not list it.
        models: The models with a replica there.
    """

    address: str = ""
    generation: int = 0
    facts: WorkerFacts | None = None
    models: frozenset[ModelKey] = frozenset()

    def with_model(self, key: ModelKey, replica: Replica) -> Member:
        """Returns the same worker with a replica of a model."""
        endpoint = (replica.address, replica.generation)
        if key in self.models and endpoint == (self.address, self.generation):
            return self
        return replace(self, address=endpoint[0], generation=endpoint[1], models=self.models | {key})

    def without_model(self, key: ModelKey) -> Member:
        """Returns the same worker without a replica of a model."""
        models = self.models - {key}
        return replace(self, models=models) if models else Member(facts=self.facts)

    @property
    def is_present(self) -> bool:
        """Whether the table lists it or a model names it."""
        return bool(self.models) or self.facts is not None


ABSENT_MEMBER = Member()
"""A worker that the table neither lists nor names."""


def members_of(
    models: Mapping[ModelKey, RoutedModel], facts: Mapping[WorkerId, WorkerFacts]
) -> dict[WorkerId, Member]:
    """Returns every worker that a table lists or that its models name."""
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


def update_members(
    members: dict[WorkerId, Member], key: ModelKey, before: RoutedModel | None, after: RoutedModel | None
) -> None:
    """Updates `members` for a change of one model, in time proportional to its workers."""
    now = replicas_of(after)
    for worker in replicas_of(before).keys() - now.keys():
        members[worker] = members[worker].without_model(key)
        _remove_if_absent(members, worker)
    for worker, replica in now.items():
        members[worker] = members.get(worker, ABSENT_MEMBER).with_model(key, replica)


def set_facts(members: dict[WorkerId, Member], worker: WorkerId, facts: WorkerFacts | None) -> None:
    """Sets the facts of a worker; None: the table no longer lists it."""
    members[worker] = replace(members.get(worker, ABSENT_MEMBER), facts=facts)
    _remove_if_absent(members, worker)


def replicas_of(model: RoutedModel | None) -> dict[WorkerId, Replica]:
    """Returns the workers of a model, each with one of its replicas there."""
    stages: Iterable[tuple[Replica, ...]] = () if model is None else (each.replicas for each in model.stages)
    return {replica.worker: replica for replicas in stages for replica in replicas}


def _remove_if_absent(members: dict[WorkerId, Member], worker: WorkerId) -> None:
    if not members[worker].is_present:
        del members[worker]
