"""Brute force: every assignment of a small graph to a few devices, and what each costs."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise, product

from hypothesis import strategies as st

from onnxmesh.model.cluster import Cluster, DeviceKind
from onnxmesh.model.device_speed import DeviceSpeed
from onnxmesh.model.graph_costs import GraphCosts
from onnxmesh.model.link import LinkSpec
from onnxmesh.model.node_times import node_times
from onnxmesh.model.plan import Plan
from tests.fakes.planned_graphs import graph

Assigned = tuple[tuple[int, ...], tuple[tuple[int, int], ...]]
"""Cuts in the topological order, and a kind and a number of devices for each stage."""


@st.composite
def graphs(draw, most_nodes=6):
    count = draw(st.integers(1, most_nodes))
    figures = st.integers(0, 30)
    num_weights = draw(st.integers(0, 4))
    uses = st.lists(st.integers(0, num_weights - 1), max_size=2).map(tuple) if num_weights else st.just(())
    return graph(
        draw(st.lists(figures, min_size=count, max_size=count)),
        draw(st.lists(figures, min_size=count - 1, max_size=count - 1)),
        draw(st.sets(st.integers(1, most_nodes), max_size=2)),
        draw(st.lists(uses, min_size=count, max_size=count)),
        tuple(draw(st.lists(st.integers(0, 20), min_size=num_weights, max_size=num_weights))),
        draw(st.lists(st.integers(0, 10), min_size=count, max_size=count)),
    )


@st.composite
def clusters(draw, most_kinds=3, most_devices=4):
    counts = draw(
        st.lists(st.integers(1, most_devices), min_size=1, max_size=most_kinds).filter(
            lambda counts: sum(counts) <= most_devices
        )
    )
    speeds = st.sampled_from([0.5, 1.0, 2.0, 3.0, 7.0])
    memories = st.one_of(st.none(), st.integers(0, 60))
    links = st.builds(LinkSpec, st.sampled_from([0.5, 1.0, 3.0, 1e6]), st.sampled_from([0.0, 0.5, 3.0]))
    kinds = tuple(
        DeviceKind(f"kind{i}", count, DeviceSpeed(draw(speeds), 1.0, 0.0), draw(memories))
        for i, count in enumerate(counts)
    )
    between = {(a.name, b.name): draw(links) for a in kinds for b in kinds if draw(st.booleans())}
    return Cluster(kinds, between, draw(links))


def every_assignment(
    costs: GraphCosts, cluster: Cluster, num_stages: int, replicas: int | None
) -> Iterator[Assigned]:
    """Yields everything that fits, each stage held by devices of one kind."""
    choices = [
        (index, count)
        for index, kind in enumerate(cluster.kinds)
        for count in range(1, kind.count + 1)
        if replicas in {None, count}
    ]
    for cuts in combinations(costs.legal_cuts, num_stages - 1):
        for groups in product(choices, repeat=num_stages):
            used = [sum(count for k, count in groups if k == i) for i in range(len(cluster.kinds))]
            if any(u > kind.count for u, kind in zip(used, cluster.kinds, strict=True)):
                continue
            limits = [cluster.kinds[k].memory_bytes for k, _ in groups]
            bounds = pairwise((0, *cuts, len(costs.nodes)))
            if all(
                limit is None or costs.peak_bytes(*nodes) <= limit
                for limit, nodes in zip(limits, bounds, strict=True)
            ):
                yield cuts, groups


def stage_costs(costs: GraphCosts, cluster: Cluster, assigned: Assigned) -> list[int]:
    """Returns for each stage the picoseconds to run it and to send what follows."""
    cuts, groups = assigned
    stages = list(pairwise((0, *cuts, len(costs.nodes))))
    found = []
    for i, (start, end) in enumerate(stages):
        kind = cluster.kinds[groups[i][0]]
        cost = sum(node_times(costs, kind)[start:end])
        if i + 1 < len(stages):
            link = cluster.link(kind.name, cluster.kinds[groups[i + 1][0]].name)
            cost += link.transfer_ps(costs.boundaries[end - 1].num_bytes)
        found.append(cost)
    return found


def period_ps(costs: GraphCosts, cluster: Cluster, assigned: Assigned) -> int:
    """Returns the slowest stage's time from one request to the next, rounded up."""
    each = stage_costs(costs, cluster, assigned)
    return max(-(-cost // count) for cost, (_, count) in zip(each, assigned[1], strict=True))


def latency_ps(costs: GraphCosts, cluster: Cluster, assigned: Assigned) -> int:
    """Returns the time of one request alone."""
    return sum(stage_costs(costs, cluster, assigned))


def as_assigned(plan: Plan, cluster: Cluster) -> Assigned:
    """Returns what a plan assigned, its stages being held by one kind each."""
    names = [kind.name for kind in cluster.kinds]
    assert all(len(stage.devices) == 1 for stage in plan.stages)
    return plan.cuts, tuple((names.index(stage.devices[0][0]), stage.num_replicas) for stage in plan.stages)
