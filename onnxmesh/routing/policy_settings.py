"""Parameters of the routing policy."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySettings:
    """Parameters that an operator of a mesh may tune; the defaults are those of `benchmarks/simulate`.

    Attributes:
        nominal_s: Assumed compute time of a request before any was measured.
        smoothing: Weight of a new compute time in the moving average.
        alike: A replica whose compute time is within this share of its kind's is taken to be as fast as its kind.
        fade: Age, in compute times, at which a worker's report weighs as much as what it typically reports.
        caution: Further weight of the work that others typically have on a worker.
        slack: Candidates within this share of a typical compute time of the best count as equally good.
        explore: Share of requests that go to any candidate, so that each is measured now and then.
        slow_start_s: Time until a newly loaded replica gets its full share.
        slow_start_floor: Fraction of its share that it begins with.
        slow_start_tolerance: A replica in slow start is held back until the others make a request wait this many typical
            compute times longer.
        spill_at: Utilisation of a tier beyond which requests spill over to the next one.
        utilisation_decisions: About how many decisions a tier's utilisation is averaged over.
        probe_s: Period in which one request that would miss its deadline is sent all the same.
        max_errors: Consecutive failures that eject a replica.
        slow_factor: A replica this many times slower than its peers is ejected.
        min_samples: Answers of a replica before it can be called slow.
        min_peers: Peers with enough answers before a replica can be called slow.
        ejection_s: Length of the first ejection; the n-th in a row is n times as long.
        max_ejection_s: Longest ejection.
        max_ejected: Share of a stage's replicas that may be ejected at once; at least one may, all never.
    """

    nominal_s: float = 0.001
    smoothing: float = 0.1
    alike: float = 0.2
    fade: float = 2.0
    caution: float = 0.5
    slack: float = 0.05
    explore: float = 1 / 512
    slow_start_s: float = 10.0
    slow_start_floor: float = 0.1
    slow_start_tolerance: float = 4.0
    spill_at: float = 0.9
    utilisation_decisions: float = 32.0
    probe_s: float = 1.0
    max_errors: int = 5
    slow_factor: float = 5.0
    min_samples: int = 20
    min_peers: int = 3
    ejection_s: float = 5.0
    max_ejection_s: float = 300.0
    max_ejected: float = 0.1


DEFAULT_SETTINGS = PolicySettings()
