"""A model as gateways route it: its signature, and where its stages can run. Pure."""

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

    @classmethod
    def from_proto(cls, model: mesh_pb2.RoutedModel, facts: Mapping[WorkerId, WorkerFacts]) -> RoutedModel:
        """Reads a model out of a route table.

        Args:
            model: What a scheduler sent.
            facts: What is known of its workers.

        Raises:
            ValueError: It names a datatype that this release does not know.
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

    def described(self, worker: WorkerId, facts: WorkerFacts) -> RoutedModel:
        """Returns the same model with other facts of one of its workers; stages that it is not in are shared."""
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
