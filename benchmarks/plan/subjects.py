"""The models of the benchmark, prepared and profiled."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from onnxmesh.device.device_kind import device_kind_name
from onnxmesh.graph.build_jobs import CutJob, CutOptions, PrepareJob, PrepareOptions
from onnxmesh.graph.build_steps import cut_prepared, prepare
from onnxmesh.graph.measuring.device_benchmark import measure_device
from onnxmesh.model.cluster import Cluster, DeviceKind
from onnxmesh.model.graph_costs import GraphCosts
from onnxmesh.model.input_shapes import InputShapes
from onnxmesh.model.optimisation_level import OptimisationLevel
from onnxmesh.model.partition import PARTITIONS, Partition, partitions_from_json
from onnxmesh.model.plan import Demand, Plan
from onnxmesh.model.profile import Profile
from onnxmesh.planning.planner import make_plan
from onnxmesh.tensors.tensor import Tensor
from tests.zoo import ZOO

LEVEL = OptimisationLevel.ALL
PROFILE_S = 6.0
DEVICE = device_kind_name(threads=1)
SUBJECTS = ("resnet50", "encoder")
"""Names in the zoo."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A prepared and profiled model.

    Attributes:
        name: Name in the zoo.
        source: The model's file.
        work: Folder that `prepare` wrote.
        feeds: Inputs at the shapes of the plan.
        costs: Costs of its graph.
        profile: Profile, measured on this machine.
        kind: Devices like one thread of this machine.
    """

    name: str
    source: Path
    work: Path
    feeds: Mapping[str, Tensor]
    costs: GraphCosts
    profile: Profile
    kind: DeviceKind

    def cluster(self, num_devices: int) -> Cluster:
        """Returns that many one-thread devices of this machine."""
        kind = self.kind
        return Cluster((DeviceKind(kind.name, num_devices, kind.speed),))

    def plan(self, num_stages: int, *, measured: bool) -> Plan:
        """Returns the planner's cut, from the profile or from estimates alone."""
        demand = Demand(num_stages=num_stages)
        return make_plan(self.costs, self.cluster(num_stages), demand, self.profile if measured else None)

    def cut(self, cuts: Sequence[int]) -> tuple[Path, list[Partition]]:
        """Cuts the model; returns the folder of the partitions and the partitions."""
        answer = json.loads(cut_prepared(CutJob(self.work, CutOptions(tuple(cuts)))))
        return self.work / PARTITIONS, partitions_from_json(json.dumps(answer["partitions"]))


def prepared(name: str, folder: Path) -> Subject:
    """Builds, prepares and profiles a model of the zoo at batch 1."""
    model = ZOO[name]
    source = model.build(folder)
    work = folder / f"{name}-work"
    feeds = model.tensors(seed=0, batch=1)
    shapes = InputShapes(inputs={name: tuple(tensor.shape) for name, tensor in feeds.items()})
    options = PrepareOptions(LEVEL, shapes=shapes, profile_s=PROFILE_S)
    answer = json.loads(prepare(PrepareJob(source, work, options, DEVICE)))
    return Subject(
        name,
        source,
        work,
        feeds,
        GraphCosts.from_json(answer["costs"]),
        Profile.from_json(answer["profile"]),
        DeviceKind(DEVICE, 2, measure_device()),
    )
