"""A plan: where a model is cut, and which devices hold each stage."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Objective(StrEnum):
    """The objective of a plan."""

    THROUGHPUT = "throughput"
    """Minimal period of the slowest stage."""
    LATENCY = "latency"
    """Minimal latency of one request."""


@dataclass(frozen=True, slots=True)
class Demand:
    """The demand on a plan.

    Attributes:
        objective: The objective.
        num_stages: Number of stages; None: chosen.
        replicas: Number of devices for each stage; None: chosen for each stage.
        share: Whether a device may hold several stages where there are fewer devices than stages times replicas.
        batches: Whether cuts are preferred beside which stages can run requests together.
    """

    objective: Objective = Objective.THROUGHPUT
    num_stages: int | None = None
    replicas: int | None = 1
    share: bool = False
    batches: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class StagePlan:
    """One stage of a plan, with its predicted times and memory.

    Attributes:
        start: Position of its first node.
        end: One past its last node.
        devices: Its devices: (name of the kind, number of devices) for each kind.
        compute_s: Predicted time of one run, on the slowest of its devices.
        transfer_s: Predicted time to send the boundary after it; 0 for the last stage.
        period_s: Predicted time from one request to the next with all its devices busy, transfers included.
        boundary_bytes: Bytes of that boundary, carried inputs included.
        weight_bytes: Bytes of the weights on each device.
        peak_bytes: Memory needed on each device: weights and working memory.
        direct_inputs: Inputs of the model that the gateway sends to this stage.
    """

    start: int
    end: int
    devices: tuple[tuple[str, int], ...]
    compute_s: float
    transfer_s: float
    period_s: float
    boundary_bytes: int
    weight_bytes: int
    peak_bytes: int
    direct_inputs: tuple[str, ...] = ()

    @property
    def num_replicas(self) -> int:
        """The number of its devices."""
        return sum(count for _, count in self.devices)


@dataclass(frozen=True, slots=True)
class WholeModel:
    """Prediction for the uncut model on the best single device.

    Attributes:
        kind: Name of the kind of device.
        compute_s: Predicted time of one run.
        peak_bytes: Memory that it needs.
        fits: Whether the device has that memory. If no device has, `kind` is the fastest of all.
    """

    kind: str
    compute_s: float
    peak_bytes: int
    fits: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """Cuts, devices and predictions.

    Attributes:
        objective: The objective.
        stages: The stages in order; never empty.
        whole: Prediction for the uncut model, for comparison.
        why: The reason for the number of stages and the predicted times, in one sentence for people.
    """

    objective: Objective
    stages: tuple[StagePlan, ...]
    whole: WholeModel
    why: str

    @property
    def cuts(self) -> tuple[int, ...]:
        """Positions in the topological order, ascending; one fewer than stages."""
        return tuple(stage.start for stage in self.stages[1:])

    @property
    def period_s(self) -> float:
        """Predicted period under load: that of the slowest stage."""
        return max(stage.period_s for stage in self.stages)

    @property
    def latency_s(self) -> float:
        """Predicted latency of one request without others."""
        return sum(stage.compute_s + stage.transfer_s for stage in self.stages)

    @property
    def bottleneck(self) -> int:
        """Index of the stage with the longest period."""
        return max(range(len(self.stages)), key=lambda index: self.stages[index].period_s)
