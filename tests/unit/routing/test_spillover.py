"""Traffic stays near while there is capacity, and spills over beyond."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.routing.spillover import spillover_shares
from tests.unit.routing.policy_bench import Bench


def test_policy_stays_in_the_near_zone_while_it_has_capacity():
    """Zones by name: nothing crosses while workers at home are idle."""
    bench = Bench({"a": "near", "b": "near", "c": "far"})
    assert bench.picks(200).keys() == {"a", "b"}


def test_policy_spills_over_in_proportion_from_90_percent_on():
    """From 90 % of its capacity in use on it gives up ever more; a full one gives up everything."""
    found = []
    for num_busy in (17, 19, 20):
        near = {f"n{i}": "near" for i in range(20)}
        bench = Bench(near | {f"f{i}": "far" for i in range(20)})
        bench.measure(dict.fromkeys(near, 0.01) | {f"f{i}": 0.01 for i in range(20)})
        bench.load({f"n{i}": 0.05 for i in range(num_busy)})
        bench.picks(300)
        picks = bench.picks(600)
        found.append(sum(count for worker, count in picks.items() if worker.startswith("f")) / 600)
    assert found[0] == 0.0
    assert 0.35 < found[1] < 0.65
    assert found[2] == 1.0


def test_policy_fails_over_from_a_lost_zone():
    """The next nearest takes everything, at once."""
    bench = Bench({"a": "near", "b": "far", "c": "far"})
    assert Counter(bench.pick(is_live=lambda worker: worker != "a") for _ in range(100)).keys() == {"b", "c"}


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=4), st.floats(0.5, 0.99))
def test_spillover_shares_add_up_to_1_at_most(tiers, spill_at):
    """None is negative, all together are 1 at the most, and a tier with spare capacity leaves nothing to farther ones."""
    found = spillover_shares([used for used, _ in tiers], [is_alive for _, is_alive in tiers], spill_at)
    assert all(share >= 0 for share in found)
    assert sum(found) <= 1 + 1e-9
    for index, (used, is_alive) in enumerate(tiers):
        if is_alive and used <= spill_at:
            assert sum(found[: index + 1]) == pytest.approx(1)
            assert not any(found[index + 1 :])
