"""What is simulated."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

KINDS = {"large GPU": 0.005, "small GPU": 0.010, "server CPU": 0.020, "edge CPU": 0.040}
"""Four kinds of workers, equally many of each, and the seconds that a request takes on them."""

ZONES = ("east", "middle", "west")

IN_ZONE_S = 0.00025
"""One way, within a zone."""

CROSS_ZONE_S = 0.001
"""One way, between two zones."""

REQUEST_BYTES = 600_000
ANSWER_BYTES = 4_000

SLO_S = 0.15
"""An answer is good if it comes within so long."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One experiment.

    Attributes:
        name: What the tables call it.
        num_workers: Over all zones and kinds.
        load: Share of the capacity of all workers that is asked for.
        cv: Coefficient of variation of the times between the requests of a zone.
        num_requests: After the warm-up.
        skew: Share of the requests that come up in the first zone; the others share the rest.
        report_s: A worker tells a gateway its load with an answer if it has not done so for so long.
        deaths: Share of the workers that die, one after the other, over the run.
        slow: Share of the workers that become ten times slower, one third into the run.
        deadline_s: What requests come with.
        num_gateways: In each zone.
    """

    name: str
    num_workers: int = 1000
    load: float = 0.8
    cv: float = 4.0
    num_requests: int = 60_000
    skew: float = 1 / 3
    report_s: float = 0.05
    deaths: float = 0.0
    slow: float = 0.0
    deadline_s: float = inf
    num_gateways: int = 2


SCENARIOS = (
    Scenario("bursty"),
    Scenario("Poisson", cv=1.0, num_requests=40_000),
    Scenario("one gateway a zone", num_requests=40_000, num_gateways=1),
    Scenario("stale figures", num_workers=240, num_requests=30_000, report_s=1.0, num_gateways=4),
    Scenario("deaths", num_workers=240, num_requests=30_000, load=0.7, deaths=0.1),
    Scenario("slow workers", num_workers=240, num_requests=30_000, load=0.6, slow=0.1),
    Scenario("lopsided", num_workers=240, num_requests=30_000, load=0.7, skew=0.6),
    Scenario("overload", num_workers=240, num_requests=30_000, load=1.2, deadline_s=SLO_S),
)
"""The first is the one that the goals are stated for."""
