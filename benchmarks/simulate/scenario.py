"""What is simulated."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf

KINDS = {"large GPU": 0.005, "small GPU": 0.010, "server CPU": 0.020, "edge CPU": 0.040}
"""Four kinds of workers, equally many of each, and the seconds that a request takes on them, all stages together."""

ZONES = ("east", "middle", "west")

FEWEST_WORKERS = 2 * len(KINDS) * len(ZONES)
"""Two of each kind in each zone."""

IN_ZONE_S = 0.00025
"""Latency within a zone, in one direction."""

CROSS_ZONE_S = 0.001
"""Latency between two zones, in one direction."""

REQUEST_BYTES = 600_000
ACTIVATION_BYTES = 600_000
"""What one stage sends to the next."""

ANSWER_BYTES = 4_000

SLO_S = 0.15
"""An answer is good if it comes within so long."""


_FEW = ("oracle", "onnxmesh", "power of two", "round robin")


def latency_s(origin: int, target: int) -> float:
    """Returns the latency between two zones, by number, in one direction."""
    return IN_ZONE_S if origin == target else CROSS_ZONE_S


@dataclass(frozen=True, slots=True)
class Scenario:
    """One experiment.

    Attributes:
        name: What the tables call it.
        num_workers: Over all zones and kinds.
        load: Rate of requests, as a fraction of the capacity of the first placement.
        cv: Coefficient of variation of the times between the requests of a zone.
        num_requests: After the warm-up.
        skew: Share of the requests that come up in the first zone; the others share the rest.
        report_s: Least interval at which a worker reports its load to a gateway with an answer.
        deaths: Share of the workers that die, one after the other, over the run.
        slow: Share of the workers that become slower, two fifths into the run.
        slow_by: How many times slower.
        deadline_s: What requests come with.
        num_gateways: In each zone.
        num_stages: Of the model; all take equally long.
        held: Share of the workers that hold a stage at first; the others are spare.
        zone_lost: Whether all workers and gateways of the last zone die half-way.
        rolling: Whether all workers are drained and restarted, one after another.
        choosers: The policies that are compared, by name; empty: all of them.
    """

    name: str
    num_workers: int = 1000
    load: float = 0.8
    cv: float = 4.0
    num_requests: int = 60_000
    skew: float = 1 / 3
    report_s: float = 0.0
    deaths: float = 0.0
    slow: float = 0.0
    slow_by: float = 10.0
    deadline_s: float = inf
    num_gateways: int = 2
    num_stages: int = 1
    held: float = 1.0
    zone_lost: bool = False
    rolling: bool = False
    choosers: tuple[str, ...] = ()

    @property
    def num_replicas(self) -> int:
        """Of each stage."""
        return int(self.num_workers * self.held) // self.num_stages

    def quick(self, fewer: int) -> Scenario:
        """Returns the scenario with so many times fewer requests.

        Where something must be noticed or drained it lasts as long as the whole one: it has fewer workers instead.
        """
        if not (self.zone_lost or self.rolling):
            return replace(self, num_requests=self.num_requests // fewer)
        num_workers = max(FEWEST_WORKERS, self.num_workers // fewer)
        num_requests = self.num_requests * num_workers // self.num_workers
        return replace(self, num_workers=num_workers, num_requests=num_requests)


SCENARIOS = (
    Scenario("bursty"),
    Scenario("Poisson", cv=1.0, num_requests=40_000),
    Scenario("one gateway a zone", num_requests=40_000, num_gateways=1),
    Scenario("stale figures", num_workers=240, num_requests=30_000, report_s=1.0, num_gateways=4),
    Scenario("deaths", num_workers=240, num_requests=30_000, load=0.7, deaths=0.1),
    Scenario("slow workers", num_workers=240, num_requests=30_000, load=0.6, slow=0.1),
    Scenario(
        "quarter speed",
        num_workers=240,
        num_requests=30_000,
        load=0.6,
        slow=0.1,
        slow_by=4.0,
        choosers=_FEW,
    ),
    Scenario("lopsided", num_workers=240, num_requests=30_000, load=0.7, skew=0.6),
    Scenario("overload", num_workers=240, num_requests=30_000, load=1.2, deadline_s=SLO_S),
    Scenario("pipelines", num_workers=300, num_requests=20_000, load=0.7, num_stages=3, choosers=_FEW),
    # 1.6 times what the first zone can do, and half of what the others can.
    Scenario(
        "near zone saturated",
        num_workers=240,
        num_requests=40_000,
        load=2.6 / 3,
        cv=1.0,
        skew=1.6 / 2.6,
        choosers=_FEW,
    ),
    Scenario("zone lost", num_workers=120, num_requests=60_000, load=0.55, zone_lost=True, choosers=_FEW),
    Scenario(
        "rolling drain",
        num_workers=36,
        num_requests=70_000,
        load=0.4,
        num_stages=2,
        held=0.75,
        rolling=True,
        choosers=_FEW,
    ),
)
"""The first is the one that the goals are stated for."""
