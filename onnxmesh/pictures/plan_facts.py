"""The data of a plan's picture."""

from __future__ import annotations

from dataclasses import dataclass

from onnxmesh.model.cluster import Cluster
from onnxmesh.model.device_speed import PICOSECONDS
from onnxmesh.model.graph_costs import GraphCosts
from onnxmesh.model.node_times import node_times
from onnxmesh.model.plan import Plan, StagePlan
from onnxmesh.model.profile import Profile
from onnxmesh.quantities import TIMES


@dataclass(frozen=True, slots=True)
class PlanFacts:
    """A plan and its inputs.

    Attributes:
        model: Display name of the model.
        plan: The plan.
        costs: Costs of the graph.
        cluster: The cluster of the plan.
        node_s: Predicted time of each node on the slowest device of its stage, in seconds.
        times_from: Origin of the times, in a few words.
    """

    model: str
    plan: Plan
    costs: GraphCosts
    cluster: Cluster
    node_s: tuple[float, ...]
    times_from: str

    def live_bytes(self, position: int) -> int:
        """Returns the bytes that a cut at a position from 1 to n - 1 sends: computed tensors and carried inputs."""
        direct = {name for stage in self.plan.stages for name in stage.direct_inputs}
        carried = sum(
            use.num_bytes
            for use in self.costs.inputs
            if use.name not in direct and use.readers and use.readers[-1] >= position
        )
        return self.costs.boundaries[position - 1].num_bytes + carried

    @property
    def input_bytes(self) -> int:
        """Bytes that the gateway sends to stage 0."""
        direct = {name for stage in self.plan.stages for name in stage.direct_inputs}
        end = self.plan.stages[0].end
        return sum(
            use.num_bytes
            for use in self.costs.inputs
            if use.name not in direct or (use.readers and use.readers[0] < end)
        )

    def bytes_of_input(self, name: str) -> int:
        """Returns the size of one of the model's inputs."""
        return next(use.num_bytes for use in self.costs.inputs if use.name == name)


def plan_facts(
    model: str, plan: Plan, costs: GraphCosts, cluster: Cluster, profile: Profile | None, times_from: str
) -> PlanFacts:
    """Returns the data of a picture.

    Args:
        model: Display name of the model.
        plan: The plan.
        costs: Costs of the graph.
        cluster: The cluster of the plan.
        profile: The profile of the plan, if any.
        times_from: Origin of the times, in a few words.
    """
    times = {
        name: node_times(costs, cluster.kind(name), profile)
        for name in sorted({name for stage in plan.stages for name, _ in stage.devices})
    }
    node_s: list[float] = []
    for stage in plan.stages:
        slowest = max((times[name][stage.start : stage.end] for name, _ in stage.devices), key=sum)
        node_s += [picoseconds / PICOSECONDS for picoseconds in slowest]
    return PlanFacts(model, plan, costs, cluster, tuple(node_s), times_from)


def devices_text(stage: StagePlan) -> str:
    """Returns the devices of a stage as text, with counts where there is more than one."""
    if stage.num_replicas == 1:
        return stage.devices[0][0]
    return " + ".join(f"{count} {TIMES} {name}" for name, count in stage.devices)
