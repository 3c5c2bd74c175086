"""The route table, laid out for the lookups that every request makes."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import accumulate

from onnxmesh.errors import InvalidRequest, NotFound
from onnxmesh.ids import ModelName, StageKey, Version, WorkerId
from onnxmesh.routing.member import NOBODY, Member, ModelKey, described, members_of, moved
from onnxmesh.routing.random_source import RandomSource
from onnxmesh.routing.worker_facts import NO_FACTS, WorkerFacts
from onnxmesh.tensors.datatype import Datatype
from onnxmesh.v1 import mesh_pb2, model_pb2


@dataclass(frozen=True, slots=True)
class Replica:
    """A stage loaded on a worker.

    Attributes:
        worker: The worker that holds it.
        address: HOST:PORT at which that worker is reached.
        generation: Which start of that worker it is.
        facts: What that worker says of itself.
    """

    worker: WorkerId
    address: str
    generation: int
    facts: WorkerFacts = NO_FACTS


@dataclass(frozen=True, slots=True)
class RoutedStage:
    """One stage and where it can run.

    Attributes:
        key: `model/version/stage`.
        replicas: May be empty: then the model cannot answer.
        direct_inputs: Inputs of the model that the gateway sends straight to it. Where no later stage has
            any, all go to stage 0, which lists none then; otherwise it lists those that it is sent.
    """

    key: StageKey
    replicas: tuple[Replica, ...]
    direct_inputs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RoutedTensor:
    """An input or output that clients see.

    Attributes:
        index: Its place in the signature.
        name: Its name.
        datatype: Element type.
        shape: -1 marks a dimension that may vary.
    """

    index: int
    name: str
    datatype: Datatype
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Splitting:
    """How a request may be cut along the first dimension of all its inputs, and several be put together.

    Attributes:
        max_rows: Most rows of a request that may.
        shared: Outputs that do not grow with the batch.
        cpu_class: All workers of the route must be CPUs of this class; empty: any may be in it.
        max_batch_rows: Most rows of several requests as one.
    """

    max_rows: int
    shared: frozenset[str] = frozenset()
    cpu_class: str = ""
    max_batch_rows: int = 1

    def allows(self, rows: int, route: Iterable[Replica]) -> bool:
        """Whether a request with so many rows may be cut on this route."""
        return rows <= self.max_rows and (
            not self.cpu_class or all(replica.facts.cpu_class == self.cpu_class for replica in route)
        )


@dataclass(frozen=True, slots=True)
class RoutedModel:
    """One version of a model, its signature and its stages.

    Attributes:
        name: What clients call it.
        version: Which version it is.
        inputs: In the order of the signature.
        outputs: In the order of the signature.
        stages: In the order of the pipeline; at least one.
        traffic_percent: Its part of the requests that name no version; None: versions do not share them.
        splitting: How its requests may be cut; None: not at all.
        input_by_name: The inputs again.
        output_by_name: The outputs again.
        gap: Number of the first stage without a replica, or None where the route is complete.
        inputs_by_hop: Which inputs the gateway sends to which hop, hop 0 first; empty: all to hop 0.
    """

    name: ModelName
    version: Version
    inputs: tuple[RoutedTensor, ...]
    outputs: tuple[RoutedTensor, ...]
    stages: tuple[RoutedStage, ...]
    traffic_percent: int | None = None
    splitting: Splitting | None = None
    input_by_name: Mapping[str, RoutedTensor] = field(init=False, repr=False, compare=False)
    output_by_name: Mapping[str, RoutedTensor] = field(init=False, repr=False, compare=False)
    gap: int | None = field(init=False)
    inputs_by_hop: Mapping[int, frozenset[str]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        gap = next((index for index, stage in enumerate(self.stages) if not stage.replicas), None)
        object.__setattr__(self, "gap", gap if self.stages else 0)
        object.__setattr__(self, "inputs_by_hop", _inputs_by_hop(self.stages))
        object.__setattr__(self, "input_by_name", {tensor.name: tensor for tensor in self.inputs})
        object.__setattr__(self, "output_by_name", {tensor.name: tensor for tensor in self.outputs})

    @property
    def is_complete(self) -> bool:
        """Whether every stage has a replica."""
        return self.gap is None

    def __str__(self) -> str:
        return f"model '{self.name}' version {self.version}"


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
            (model.name, model.version): model for model in (_model(each, facts) for each in table.models)
        }
        return cls(table.epoch, models, _by_name(models.values()), members_of(models, facts))

    def apply(self, change: mesh_pb2.RouteChange) -> RoutingTable:
        """Returns the table that a change makes of this one; what it does not touch is shared.

        Takes as long as the change is large.

        Raises:
            ValueError: It names a datatype that this release does not know.
        """
        workers = dict(self.workers)
        facts: dict[WorkerId, WorkerFacts | None] = {WorkerId(id_): None for id_ in change.gone_workers}
        facts.update((WorkerId(worker.worker), _facts(worker)) for worker in change.workers)
        changed: dict[ModelKey, RoutedModel | None] = {}
        for worker, each in facts.items():
            for key in workers.get(worker, NOBODY).models:
                changed[key] = _described_anew(
                    changed.get(key) or self._models[key], worker, each or NO_FACTS
                )
            described(workers, worker, each)
        changed.update(((ModelName(gone.name), Version(gone.version)), None) for gone in change.gone_models)
        for message in change.models:
            named = {WorkerId(replica.worker) for stage in message.stages for replica in stage.replicas}
            known = {id_: workers.get(id_, NOBODY).facts or NO_FACTS for id_ in named}
            model = _model(message, known)
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


def _inputs_by_hop(stages: tuple[RoutedStage, ...]) -> dict[int, frozenset[str]]:
    if not any(stage.direct_inputs for stage in stages[1:]):
        return {}
    return {
        hop: frozenset(stage.direct_inputs)
        for hop, stage in enumerate(stages)
        if hop == 0 or stage.direct_inputs
    }


def _by_name(models: Iterable[RoutedModel]) -> dict[str, tuple[RoutedModel, ...]]:
    by_name: defaultdict[str, list[RoutedModel]] = defaultdict(list)
    for model in models:
        by_name[model.name].append(model)
    return {name: tuple(sorted(each, key=lambda model: -model.version)) for name, each in by_name.items()}


def _facts(worker: mesh_pb2.RoutedWorker) -> WorkerFacts:
    return WorkerFacts(tuple(worker.tags), dict(worker.attributes))


def _described_anew(model: RoutedModel, worker: WorkerId, facts: WorkerFacts) -> RoutedModel:
    """Returns a model with other facts of one of its workers; stages that it is not in are shared."""
    stages = tuple(
        replace(
            stage,
            replicas=tuple(
                replace(each, facts=facts) if each.worker == worker else each for each in stage.replicas
            ),
        )
        if any(each.worker == worker for each in stage.replicas)
        else stage
        for stage in model.stages
    )
    return replace(model, stages=stages)


def _model(model: mesh_pb2.RoutedModel, facts: Mapping[WorkerId, WorkerFacts]) -> RoutedModel:
    return RoutedModel(
        name=ModelName(model.name),
        version=Version(model.version),
        inputs=_tensors(model.signature.inputs),
        outputs=_tensors(model.signature.outputs),
        stages=tuple(_stage(stage, facts) for stage in model.stages),
        traffic_percent=model.traffic_percent if model.HasField("traffic_percent") else None,
        splitting=_splitting(model.splitting) if model.HasField("splitting") else None,
    )


def _splitting(splitting: mesh_pb2.Splitting) -> Splitting:
    return Splitting(
        splitting.max_rows, frozenset(splitting.shared), splitting.cpu_class, splitting.max_batch_rows
    )


def _tensors(specs: Iterable[model_pb2.TensorSpec]) -> tuple[RoutedTensor, ...]:
    return tuple(
        RoutedTensor(index, spec.name, Datatype(spec.datatype), tuple(spec.shape))
        for index, spec in enumerate(specs)
    )


def _stage(stage: mesh_pb2.RoutedStage, facts: Mapping[WorkerId, WorkerFacts]) -> RoutedStage:
    return RoutedStage(
        key=StageKey(stage.stage),
        replicas=tuple(
            Replica(
                WorkerId(replica.worker),
                replica.address,
                replica.generation,
                facts.get(WorkerId(replica.worker), NO_FACTS),
            )
            for replica in stage.replicas
        ),
        direct_inputs=tuple(stage.direct_inputs),
    )
