"""Pools of kinds, computed by hand."""

from __future__ import annotations

from onnxmesh.planning.search.assignment import Assignment
from onnxmesh.planning.search.chain import Chain
from onnxmesh.planning.search.pools import DevicePools, by_speed
from tests.fakes.planned_graphs import cluster, graph, kind

PS = 10**12


def three_kinds(slots=1):
    """Speeds 1, 1.1 and 10."""
    devices = cluster(kind("a", 2), kind("b", 1, speed=1.1), kind("c", 1, speed=10.0))
    return Chain.of(graph([110] * 4), devices, slots=slots)


def test_pools_merge_the_two_most_similar_kinds():
    """The two slow kinds; their pool has three devices at their mean rate."""
    chain = three_kinds()
    pools = DevicePools.of(chain).merged(chain)
    assert pools.members == ((0, 1), (2,))
    pooled = pools.chain(chain)
    assert pooled.counts == (3, 1)
    # Three devices do 3.1 units a second: 110 units take 3 / 3.1 of 110 s each.
    assert abs(int(pooled.prefix[0, 1]) - round(110 * 3 / 3.1 * PS)) <= 1


def test_pools_assign_the_fastest_devices_to_the_heaviest_stages():
    """Of two stages on the merged pool the longer one is on the faster kind."""
    chain = three_kinds()
    pools = DevicePools.of(chain).merged(chain)
    found = Assignment((1,), (((0, 1),), ((0, 1),)))
    assert pools.assign_devices(chain, pools.chain(chain), found).groups == (((0, 1),), ((1, 1),))


def test_devices_by_speed_alternate_their_slots():
    """The fastest first; second slots follow after all first ones."""
    assert by_speed(three_kinds(), [0, 1, 2]) == [2, 1, 0, 0]
    assert by_speed(three_kinds(slots=2), [0, 1]) == [1, 0, 0, 1, 0, 0]
