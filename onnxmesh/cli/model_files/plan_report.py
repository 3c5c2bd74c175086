"""A plan and everything that is said about it."""

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
class PlanReport:
    """What `onnxmesh plan` found out.

    Attributes:
        model: Name of the model, without `.onnx`.
        mode: How it is to be cut.
        level: What ONNX Runtime does to the whole before the cut.
        shapes: That the plan was made with.
        costs: Of the graph.
        cluster: That the plan was made for.
        profile: With which it was made, if any.
        profile_path: Where that was; empty if there is none.
        sources: By kind of device, how its times came about.
        plan: The plan.
        relief: What would relieve the slowest stage, or nothing.
    """

    model: str
    mode: CutMode
    level: OptimisationLevel
    shapes: InputShapes
    costs: GraphCosts
    cluster: Cluster
    profile: Profile | None
    profile_path: str
    sources: Mapping[str, tuple[str, str]]
    plan: Plan
    relief: str

    @property
    def throughput_ratio(self) -> float | None:
        """How many times as many answers as the whole model on the best single device; None: no time at all."""
        return self.plan.whole.compute_s / self.plan.period_s if self.plan.period_s > 0 else None

    @property
    def latency_ratio(self) -> float | None:
        """How many times as long as the whole model one request alone takes; None: that takes no time at all."""
        return self.plan.latency_s / self.plan.whole.compute_s if self.plan.whole.compute_s > 0 else None
