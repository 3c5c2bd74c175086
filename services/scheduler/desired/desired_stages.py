"""Desired stages: which stages should be on how many workers, from deployments. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass
from math import prod

from onnxmesh.ids import Digest, ModelKey, StageKey, WorkerId, stage_key
from onnxmesh.state.base import Deployment
from onnxmesh.tensors.datatype import Datatype
from onnxmesh.v1.model_pb2 import Partition, TensorSpec

_STRING_BYTES = 32
"""Bytes that a string element counts as."""


@dataclass(frozen=True, slots=True)
class Home:
    """A kind of worker that a plan assigns a stage to.

    Attributes:
        kind: Its name.
        count: How many of its workers are to hold the stage.
        workers: The workers of this kind when the plan was made.
    """

    kind: str
    count: int
    workers: frozenset[WorkerId] = frozenset()


@dataclass(frozen=True, slots=True)
class DesiredStage:
    """A stage that should be held by workers.

    Attributes:
        key: Its name on workers.
        model: The model version that it belongs to.
        digest: Digest of its partition.
        replicas: By how many workers it should be held.
        require: Requirements that each of them must satisfy.
        cpu_class: The class of CPU it is tied to; empty: none.
        weight_bytes: Bytes of its weights.
        peak_bytes: Bytes of memory that it needs.
        homes: The worker kinds it is assigned to; empty: any.
        revision: Revision of its plan; stages of two plans of a model are unrelated.
        cost_s: Predicted time from one request to the next on a device that it is assigned to; 0: not known.
        sent_bytes: Bytes that a request sends on to the next stage; free dimensions are those of the plan.
    """

    key: StageKey
    model: ModelKey
    digest: Digest
    _: KW_ONLY
    replicas: int = 1
    require: tuple[str, ...] = ()
    cpu_class: str = ""
    weight_bytes: int = 0
    peak_bytes: int = 0
    homes: tuple[Home, ...] = ()
    revision: int = 0
    cost_s: float = 0.0
    sent_bytes: int = 0

    @property
    def position(self) -> int:
        """Its position in the pipeline, from 0."""
        return int(self.key.rpartition("/")[2])


def desired_stages(deployment: Deployment) -> list[DesiredStage]:
    """Returns the stages of a deployment, in order."""
    sizes = _tensor_bytes(deployment)
    return [
        DesiredStage(
            key=stage_key(deployment.name, deployment.version, partition.index, deployment.plan.revision),
            model=(deployment.name, deployment.version),
            digest=Digest(partition.artefact.digest),
            replicas=num_replicas(deployment, partition),
            require=(*deployment.spec.require, *deployment.plan.require),
            cpu_class=deployment.plan.cpu_class,
            weight_bytes=partition.weight_bytes,
            peak_bytes=partition.peak_bytes or partition.weight_bytes,
            homes=tuple(
                Home(devices.kind, devices.count, frozenset(map(WorkerId, devices.workers)))
                for devices in partition.devices
            ),
            revision=deployment.plan.revision,
            cost_s=partition.estimated_cost,
            sent_bytes=sum(sizes.get(name, 0) for name in partition.live_out),
        )
        for partition in deployment.plan.partitions
    ]


class DesiredStages:
    """Caches the desired stages of each deployment."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Deployment, list[DesiredStage]]] = {}

    def of(self, deployments: Iterable[Deployment]) -> list[DesiredStage]:
        """Returns the stages of all these deployments; those of others are evicted from the cache."""
        # Cached with its stages, a deployment keeps its `id`; deployments are immutable.
        self._known = {
            id(each): self._known.get(id(each)) or (each, desired_stages(each)) for each in deployments
        }
        return [stage for _, stages in self._known.values() for stage in stages]


def num_replicas(deployment: Deployment, partition: Partition) -> int:
    """Returns how many workers are to hold a partition: as in the spec, or more where the plan chooses."""
    if not deployment.spec.replicate:
        return deployment.spec.replicas
    return max(deployment.spec.replicas, sum(devices.count for devices in partition.devices))


def _tensor_bytes(deployment: Deployment) -> dict[str, int]:
    """Returns the bytes of every tensor that partitions read and write."""
    batch = deployment.spec.shapes.batch or 1
    specs = [*deployment.plan.signature.inputs]
    for partition in deployment.plan.partitions:
        specs.extend((*partition.inputs, *partition.outputs))
    return {spec.name: _byte_size(spec, batch) for spec in specs}


def _byte_size(spec: TensorSpec, batch: int) -> int:
    dims = [dim if dim >= 0 else batch if not place else 1 for place, dim in enumerate(spec.shape)]
    try:
        size = Datatype(spec.datatype).byte_size(prod(dims))
    except ValueError:
        return 0
    return prod(dims) * _STRING_BYTES if size is None else size
