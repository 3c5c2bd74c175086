"""Memory packing against every assignment."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxmesh.planning.search.assignment import Assignment
from onnxmesh.planning.search.chain import Chain
from onnxmesh.planning.search.packing import pack_memory
from tests.fakes.planned_graphs import cluster, graph, kind
from tests.unit.planning.every_assignment import (
    clusters,
    every_assignment,
    graphs,
)


@settings(max_examples=150)
@given(graphs(), clusters(), st.integers(1, 2))
def test_packing_fits_exactly_if_brute_force_does(costs, cluster, replicas):
    """Something is packed exactly if some assignment fits, and in the fewest stages."""
    chain = Chain.of(costs, cluster)
    numbers = range(1, min(costs.max_stages, cluster.num_devices // replicas) + 1)
    fitting = [k for k in numbers if any(True for _ in every_assignment(costs, cluster, k, replicas))]
    found = pack_memory(chain, None, replicas)
    assert (None if found is None else found.num_stages) == min(fitting, default=None)
    assert found is None or found.fits(chain)


NUM_KINDS = 15
"""So many kinds that not every multiset of devices is tried."""


def many_kinds(num_blocks, devices=1):
    """Blocks with a weight of 1,000 bytes each; devices of kind `k` hold `k + 1` of them."""
    costs = graph(
        [1] * num_blocks,
        weights=[(index,) for index in range(num_blocks)],
        weight_bytes=(1000,) * num_blocks,
    )
    kinds = [kind(f"holds_{size}", devices, memory=1000 * size + 500) for size in range(1, NUM_KINDS + 1)]
    return Chain.of(costs, cluster(*kinds))


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize(
    ("num_stages", "cuts", "kinds"),
    [(None, (15, 29), (14, 13, 12)), (3, (15, 29), (14, 13, 12)), (4, (15, 29, 41), (14, 13, 12, 11))],
)
def test_packing_of_many_kinds_takes_the_largest_memory_first(num_stages, cuts, kinds, replicas):
    """Forty-two blocks are 15, 14 and 13; of four stages the last gets the block that it must have."""
    chain = many_kinds(42, devices=replicas)
    found = pack_memory(chain, num_stages, replicas)
    assert found == Assignment(cuts, tuple(((kind, replicas),) for kind in kinds))
    assert found.fits(chain)


def test_packing_of_many_kinds_finds_none_where_memory_or_blocks_are_missing():
    """All devices together hold 120 blocks, and the largest two 29; no stage is without a block."""
    assert pack_memory(many_kinds(120)).num_stages == NUM_KINDS
    assert pack_memory(many_kinds(121)) is None
    assert pack_memory(many_kinds(29), 2).num_stages == 2
    assert pack_memory(many_kinds(30), 2) is None
    assert pack_memory(many_kinds(2), 3) is None
    assert pack_memory(many_kinds(20), NUM_KINDS + 1) is None
