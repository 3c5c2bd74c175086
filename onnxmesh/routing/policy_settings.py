"""The figures that the policy goes by."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """What an operator of a mesh may tune; the defaults are what `benchmarks/simulate` ran with.

    Attributes:
        nominal_s: What a request is taken to compute while nobody has measured one.
        smoothing: Weight of a measured compute time against those before.
        alike: A replica that measures within this share of its kind's usual time is taken to be as fast as its kind.
        fade: A worker's report counts half against what it usually reports after so many compute times.
        caution: The work that others usually have on a worker counts so many times more than what is known of it.
        slack: Candidates within this share of a typical compute time of the best count as equally good.
        explore: Share of requests that go to any candidate, so that each is measured now and then.
        slow_start_s: A newly loaded replica reaches its full share after so long.
        slow_start_floor: The share of its share that it begins with.
        slow_start_patience: A replica in its slow start is spared until the others make a request wait so many typical
            compute times longer.
        spill_at: Share of a tier's capacity in use beyond which requests spill to the next tier.
        pressure_decisions: Over about so many decisions is the use of a tier averaged.
        probe_s: Of requests that would be refused for their deadline one may try its luck this often.
        max_errors: Consecutive failures that eject a replica.
        slow_factor: A replica so many times slower than its peers is ejected.
        min_samples: Answers that must have been seen before a replica is called slow.
        min_peers: Peers that must have been measured before a replica is called slow.
        ejection_s: How long the first ejection lasts; the n-th in a row lasts n times as long.
        max_ejection_s: No ejection lasts longer.
        max_ejected: Share of a stage's replicas that may be ejected at once; one may in any case, all never.
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
    slow_start_patience: float = 4.0
    spill_at: float = 0.9
    pressure_decisions: float = 32.0
    probe_s: float = 1.0
    max_errors: int = 5
    slow_factor: float = 5.0
    min_samples: int = 20
    min_peers: int = 3
    ejection_s: float = 5.0
    max_ejection_s: float = 300.0
    max_ejected: float = 0.1


DEFAULT_SETTINGS = PolicySettings()
