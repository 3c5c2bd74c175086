"""How a model is cut and spread over the devices there are."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Objective(StrEnum):
    """What a plan is to be good at."""

    THROUGHPUT = "throughput"
    """The slowest stage is as fast as possible."""
    LATENCY = "latency"
    """One request alone is answered as fast as possible."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What is asked of a plan.

    Attributes:
        objective: What counts.
        num_stages: How many stages; None: choose.
        replicas: How many devices hold each stage; None: choose for each.
        share: Whether a device may hold several stages where there are fewer devices than stages and
            replicas ask for.
    """

    objective: Objective = Objective.THROUGHPUT
    num_stages: int | None = None
    replicas: int | None = 1
    share: bool = False


@dataclass(frozen=True, slots=True)
class StagePlan:
    """One stage, and what is expected of it.

    Attributes:
        start: First node.
        end: One past the last node.
        devices: Who holds it: names of kinds, and how many devices of each.
        compute_s: Predicted time to run it once, on the slowest of its devices.
        transfer_s: Predicted time to send what crosses the cut after it; 0 for the last stage.
        period_s: Predicted time from one request to the next where all its devices are busy, sending
            included.
        boundary_bytes: What is sent over that cut, inputs that are carried through included.
        weight_bytes: Weights that each device holds.
        peak_bytes: Memory that each device needs: weights, activations, scratch.
        direct_inputs: Inputs of the model that this stage gets straight from the gateway.
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
        """How many devices hold the stage."""
        return sum(count for _, count in self.devices)


@dataclass(frozen=True, slots=True)
class WholeModel:
    """What the uncut model would do on the best single device.

    Attributes:
        kind: The kind of device.
        compute_s: Predicted time to run it once.
        peak_bytes: Memory that it needs.
        fits: Whether such a device has that memory. If none does, this is the fastest of all.
    """

    kind: str
    compute_s: float
    peak_bytes: int
    fits: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """Where to cut, who holds what, and what to expect of it.

    Attributes:
        objective: What it is good at.
        stages: In order; never empty.
        whole: What to compare it with.
        why: One sentence for people: how the number of stages came about and what it costs.
    """

    objective: Objective
    stages: tuple[StagePlan, ...]
    whole: WholeModel
    why: str

    @property
    def cuts(self) -> tuple[int, ...]:
        """Positions in the row of nodes, ascending; one fewer than stages."""
        return tuple(stage.start for stage in self.stages[1:])

    @property
    def period_s(self) -> float:
        """Predicted time from one answer to the next under load: that of the slowest stage."""
        return max(stage.period_s for stage in self.stages)

    @property
    def latency_s(self) -> float:
        """Predicted time of one request alone."""
        return sum(stage.compute_s + stage.transfer_s for stage in self.stages)

    @property
    def bottleneck(self) -> int:
        """The slowest stage."""
        return max(range(len(self.stages)), key=lambda index: self.stages[index].period_s)
