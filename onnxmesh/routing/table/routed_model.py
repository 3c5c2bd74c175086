"""Models of a route table: signature, stages and replicas. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from onnxmesh.ids import ModelName, StageKey, Version, WorkerId
from onnxmesh.routing.table.worker_facts import NO_FACTS, WorkerFacts
from onnxmesh.tensors.datatype import Datatype
from onnxmesh.v1 import mesh_pb2, model_pb2


@dataclass(frozen=True, slots=True)
class Replica:
    """A stage loaded on a worker.

    Attributes:
        worker: The worker that holds it.
        address: HOST:PORT of that worker.
        generation: Start number of that worker's process.
        facts: Tags and attributes of that worker.
    """

    worker: WorkerId
    address: str
    generation: int
    facts: WorkerFacts = NO_FACTS


@dataclass(frozen=True, slots=True)
class RoutedStage:
    """A stage and its replicas.

    Attributes:
        key: `model/version/stage`.
        replicas: May be empty: then the model cannot answer.
        direct_inputs: Inputs of the model that the gateway sends straight to this stage. Where no later stage has any,
            all inputs go to stage 0, which then lists none; otherwise stage 0 lists its own.
    """

    key: StageKey
    replicas: tuple[Replica, ...]
    direct_inputs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RoutedTensor:
    """An input or output of a model's signature.

    Attributes:
        index: Its position in the signature.
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
    """Limits for splitting a request along the batch dimension, and for concatenating several.

    Attributes:
        max_rows: Most rows of a request that may be split.
        shared: Outputs without a batch dimension.
        cpu_class: Class of CPU that all workers of the route must have; empty: any device may be in it.
        max_batch_rows: Most rows of several requests together.
    """

    max_rows: int
    shared: frozenset[str] = frozenset()
    cpu_class: str = ""
    max_batch_rows: int = 1

    def allows(self, rows: int, route: Iterable[Replica]) -> bool:
        """Whether a request with `rows` rows may be split on this route."""
        return rows <= self.max_rows and (
            not self.cpu_class or all(replica.facts.cpu_class == self.cpu_class for replica in route)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutedModel:
    """One version of a model, its signature and its stages.

    Attributes:
        name: Its name.
        version: Its version.
        inputs: In the order of the signature.
        outputs: In the order of the signature.
        stages: In the order of the pipeline; at least one.
        traffic_percent: Its share of the requests that name no version; None: there is no traffic split.
        splitting: Limits for splitting its requests; None: they may not be split.
        input_by_name: The inputs by name.
        output_by_name: The outputs by name.
        gap: Number of the first stage without a replica; None where every stage has one.
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

    @classmethod
    def from_proto(cls, model: mesh_pb2.RoutedModel, facts: Mapping[WorkerId, WorkerFacts]) -> RoutedModel:
        """Converts a model of a route table message.

        Args:
            model: The message.
            facts: Facts about its workers.

        Raises:
            ValueError: It has a datatype that this release does not know.
        """
        return cls(
            name=ModelName(model.name),
            version=Version(model.version),
            inputs=_tensors(model.signature.inputs),
            outputs=_tensors(model.signature.outputs),
            stages=tuple(_stage(stage, facts) for stage in model.stages),
            traffic_percent=model.traffic_percent if model.HasField("traffic_percent") else None,
            splitting=_splitting(model.splitting) if model.HasField("splitting") else None,
        )

    @property
    def is_complete(self) -> bool:
        """Whether every stage has a replica."""
        return self.gap is None

    def with_facts(self, worker: WorkerId, facts: WorkerFacts) -> RoutedModel:
        """Returns the same model with other facts about one of its workers; stages without that worker are shared."""
        stages = tuple(
            replace(
                stage,
                replicas=tuple(
                    replace(each, facts=facts) if each.worker == worker else each for each in stage.replicas
                ),
            )
            if any(each.worker == worker for each in stage.replicas)
            else stage
            for stage in self.stages
        )
        return replace(self, stages=stages)

    def __str__(self) -> str:
        return f"model '{self.name}' version {self.version}"


def _inputs_by_hop(stages: tuple[RoutedStage, ...]) -> dict[int, frozenset[str]]:
    if not any(stage.direct_inputs for stage in stages[1:]):
        return {}
    return {
        hop: frozenset(stage.direct_inputs)
        for hop, stage in enumerate(stages)
        if hop == 0 or stage.direct_inputs
    }


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
