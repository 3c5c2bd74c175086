"""The exact search against every assignment, on small graphs and few devices."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from onnxmesh.planning.search.chain import Chain
from onnxmesh.planning.search.stage_search import StageSearch
from tests.fakes.planned_graphs import cluster, graph, kind
from tests.unit.planning.every_assignment import (
    clusters,
    every_assignment,
    graphs,
    latency_ps,
    period_ps,
)


@settings(max_examples=200)
@given(graphs(), clusters(), st.booleans())
def test_search_for_throughput_equals_brute_force(costs, cluster, replicate):
    """Into every number of stages, the slowest is as fast as in the best of all assignments; none exactly if none fits."""
    chain = Chain.of(costs, cluster)
    layers = min(chain.num_blocks, sum(chain.counts))
    search = StageSearch(chain, layers, replicate=replicate)
    for num_stages in range(1, layers + 1):
        every = every_assignment(costs, cluster, num_stages, None if replicate else 1)
        expected = min((period_ps(costs, cluster, one) for one in every), default=None)
        found = search.solution(num_stages)
        assert (None if found is None else found.period(chain)) == expected
        assert found is None or (found.fits(chain) and min(found.spare(chain.counts)) >= 0)


@settings(max_examples=150)
@given(graphs(), clusters())
def test_search_for_latency_equals_brute_force(costs, cluster):
    """So is the sum."""
    chain = Chain.of(costs, cluster)
    layers = min(chain.num_blocks, sum(chain.counts))
    search = StageSearch(chain, layers, latency=True)
    for num_stages in range(1, layers + 1):
        every = every_assignment(costs, cluster, num_stages, 1)
        expected = min((latency_ps(costs, cluster, one) for one in every), default=None)
        found = search.solution(num_stages)
        assert (None if found is None else found.latency(chain)) == expected


def test_search_of_a_long_chain_equals_brute_force():
    """With 16 blocks or more, several starts are tried at a time: three here, and one in the last step."""
    rng = Random(3)
    count = 25
    costs = graph(
        [rng.randint(1, 9) for _ in range(count)],
        [rng.randint(1, 9) for _ in range(count - 1)],
        weights=[(index,) for index in range(count)],
        weight_bytes=(1,) * count,
    )
    devices = cluster(kind("small", 2, memory=9), kind("large", 1, speed=2.0), bytes_per_s=2.0)
    chain = Chain.of(costs, devices)
    assert chain.num_blocks == count
    throughput, latency = (StageSearch(chain, 3, latency=latency) for latency in (False, True))
    for num_stages in (1, 2, 3):
        every = list(every_assignment(costs, devices, num_stages, 1))
        found = throughput.solution(num_stages)
        assert found.period(chain) == min(period_ps(costs, devices, one) for one in every)
        found = latency.solution(num_stages)
        assert found.latency(chain) == min(latency_ps(costs, devices, one) for one in every)
