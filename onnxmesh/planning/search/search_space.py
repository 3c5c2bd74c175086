"""The search space: the whole problem if a search of it is affordable, else a reduced one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isqrt, prod

from onnxmesh.model.plan import Demand, Objective
from onnxmesh.planning.search.chain import Chain
from onnxmesh.planning.search.cut_points import select_cut_points
from onnxmesh.planning.search.pools import DevicePools
from onnxmesh.planning.search.stage_search import operations

SEARCH_BUDGET = 300_000_000
"""Values that a search may compare, in about a second. Up to this size a plan is exact."""
_MAX_ENTRIES = 30_000_000
"""Values that a search may store."""
_MIN_BLOCKS = 24
_MAX_KINDS = 8


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """A problem that is small enough to be searched.

    Attributes:
        pools: The pools of kinds that the search distinguishes.
        pooled: The chain with pools as kinds, at all its positions.
        points: The positions that the search considers.
        num_layers: Most stages.
        replicate: Whether a stage may have several units of devices.
        exact: Whether this is the whole problem.
    """

    pools: DevicePools
    pooled: Chain
    points: list[int]
    num_layers: int
    replicate: bool
    exact: bool

    @property
    def single(self) -> bool:
        """Whether all stages have equal device groups, so that only the cuts are to be found."""
        return self.pooled.num_kinds == 1 and not self.replicate


def affordable_search_space(chain: Chain, demand: Demand, budget: int = SEARCH_BUDGET) -> SearchSpace | None:
    """Returns a search space within the budget; None if there are too few devices for the demand.

    Where the whole problem is too large, equal devices are bundled and kinds are pooled, the most similar first, until
    a search over a few dozen cut points is affordable; then it has as many points as the budget allows. More than
    eight kinds are always pooled; so are kinds none of which has enough devices for a stage.

    Args:
        chain: The blocks and devices.
        demand: Objective, stages and replicas.
        budget: Number of values that the search may compare.
    """
    wanted = demand.num_stages
    free = demand.replicas is None and demand.objective is Objective.THROUGHPUT and chain.slots == 1
    replicate = free
    own = pools = DevicePools.of(chain, demand.replicas or 1)
    while len(pools.members) > 1 and (
        len(pools.members) > _MAX_KINDS or sum(pools.units(chain)) < (wanted or 1)
    ):
        pools = pools.merged(chain)
    if sum(pools.units(chain)) < (wanted or 1):
        return None
    every = list(range(chain.num_blocks + 1))
    while True:
        pooled = pools.chain(chain)
        num_layers = min(wanted or chain.num_blocks, sum(pooled.counts), chain.num_blocks)
        if not replicate:
            # A stage has one unit, so no kind can use more units than there are stages.
            pooled = replace(pooled, counts=tuple(min(count, num_layers) for count in pooled.counts))
        if pooled.num_kinds == 1 and not replicate:
            return SearchSpace(pools, pooled, every, num_layers, replicate, exact=pools == own and not free)
        affordable = _affordable(pooled, num_layers, budget, replicate=replicate)
        if affordable >= chain.num_blocks:
            exact = pools == own and replicate == free
            return SearchSpace(pools, pooled, every, num_layers, replicate, exact)
        if affordable >= max(_MIN_BLOCKS, num_layers * 3 // 2):
            points = select_cut_points(chain, affordable)
            return SearchSpace(pools, pooled, points, num_layers, replicate, exact=False)
        if replicate and max(pooled.counts) > 4 and sum(pooled.counts) // 2 >= (wanted or 1):
            pools = replace(pools, unit=pools.unit * 2)
        elif pooled.num_kinds > 1:
            pools = pools.merged(chain)
        else:
            replicate = False


def _affordable(pooled: Chain, num_layers: int, budget: int, *, replicate: bool) -> int:
    """Returns the number of blocks that a search within the budget can have."""
    whole = operations(pooled, num_layers, replicate=replicate)
    entries = num_layers * prod(count + 1 for count in pooled.counts) * pooled.num_kinds
    return min(isqrt(budget * pooled.num_blocks**2 // max(1, whole)), _MAX_ENTRIES // entries)
