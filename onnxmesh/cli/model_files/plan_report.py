"""A plan of `onnxmesh plan` with everything that its table, JSON and picture show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from onnxmesh.model.cluster import Cluster
from onnxmesh.model.cut_mode import CutMode
from onnxmesh.model.graph_costs import GraphCosts
from onnxmesh.model.input_shapes import InputShapes
from onnxmesh.model.optimisation_level import OptimisationLevel
from onnxmesh.model.plan import Plan
from onnxmesh.model.profile import Profile


@dataclass(frozen=True, slots=True)
class PlannedModel:
    """The model that was planned.

    Attributes:
        name: Its name, without `.onnx`.
        mode: Whether it is cut after or before its optimisation.
        level: ONNX Runtime's optimisation of the whole model before the cut.
        shapes: The input shapes to plan for.
        costs: The costs of its graph.
    """

    name: str
    mode: CutMode
    level: OptimisationLevel
    shapes: InputShapes
    costs: GraphCosts


@dataclass(frozen=True, slots=True)
class NodeTimes:
    """Where the times of the graph's nodes come from.

    Attributes:
        sources: By kind of device: `measured`, `scaled` or `estimated`, and the device that was measured, or "".
        profile: The measured times, if any.
        profile_path: The profile's file; empty without one.
    """

    sources: Mapping[str, tuple[str, str]]
    profile: Profile | None = None
    profile_path: str = ""


@dataclass(frozen=True, slots=True)
class PlanReport:
    """The result of `onnxmesh plan`.

    Attributes:
        model: The model.
        cluster: The devices and links that the plan is for.
        times: Where the times come from.
        plan: The plan.
        relief: A change of the devices that would speed up the slowest stage; empty if there is none.
    """

    model: PlannedModel
    cluster: Cluster
    times: NodeTimes
    plan: Plan
    relief: str

    @property
    def throughput_ratio(self) -> float | None:
        """Throughput relative to the uncut model on the best single device; None if the plan takes no time."""
        return self.plan.whole.compute_s / self.plan.period_s if self.plan.period_s > 0 else None

    @property
    def latency_ratio(self) -> float | None:
        """Latency of one request relative to the uncut model; None if that takes no time."""
        return self.plan.latency_s / self.plan.whole.compute_s if self.plan.whole.compute_s > 0 else None
