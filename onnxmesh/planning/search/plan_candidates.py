"""Candidate plans: the best assignment for each number of stages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from onnxmesh.model.plan import Demand, Objective
from onnxmesh.planning.search.assignment import Assignment
from onnxmesh.planning.search.chain import Chain, DeviceGroup
from onnxmesh.planning.search.chain_problem import ChainProblem
from onnxmesh.planning.search.cut_points import select_cut_points
from onnxmesh.planning.search.packing import pack_memory
from onnxmesh.planning.search.search_space import SEARCH_BUDGET, SearchSpace, affordable_search_space
from onnxmesh.planning.search.spare_devices import assign_spare_devices
from onnxmesh.planning.search.stage_search import StageSearch
from onnxmesh.planning.search.uniform import uniform_assignment

_MAX_EACH_NUMBER = 32
"""Up to here every number of stages is tried; beyond it each tried number is an eighth more than the one before."""


@dataclass(frozen=True, slots=True)
class PlanCandidates:
    """Result of the search.

    Attributes:
        best: The best assignment found, by feasible number of stages.
        uniform: The uniform cuts that it was compared with, by number of stages.
        exact: Whether `best` is optimal among assignments whose stages each have devices of one kind.
    """

    best: dict[int, Assignment]
    uniform: dict[int, Assignment]
    exact: bool


def find_candidates(chain: Chain, demand: Demand, budget: int = SEARCH_BUDGET) -> PlanCandidates:
    """Searches the best assignment for each number of stages that the demand allows.

    Within the budget, `StageSearch` is exact over all cut points, kinds and replicas; so is `ChainProblem`, at any size,
    where there is one kind of device and the replicas are given. Beyond the budget, the heuristic is:

    1. `affordable_search_space` pools kinds, bundles devices and omits cut points, until a search is affordable.
    2. The search fixes the sequence of kinds and replicas. The devices of a pool are assigned to its stages, the
       fastest to the heaviest.
    3. For that sequence the cuts are optimised exactly over all points. They are added to the points of a second
       search, which may fix another sequence.
    4. The uniform cut and an assignment that only fits in memory are compared too: the result is never worse.

    Where replicas are free, spare devices are assigned to the slowest stages, and the cuts are optimised again.

    Args:
        chain: The blocks and devices.
        demand: Objective, stages and replicas.
        budget: Number of values that the search may compare.
    """
    latency = demand.objective is Objective.LATENCY
    numbers = _numbers(chain, demand)
    replicas = demand.replicas or 1
    plain = {k: uniform_assignment(chain, k, replicas) for k in numbers}
    uniform = {k: found for k, found in plain.items() if found is not None}
    best = _BestAssignments(chain, dict(uniform), latency)
    space = affordable_search_space(chain, demand, budget)
    if space is not None and space.exact:
        for found in _searched(chain, space, numbers, latency=latency):
            best.offer(found)
    else:
        # Two searches share the budget.
        space = affordable_search_space(chain, demand, budget // 2)
        fitting = pack_memory(chain, demand.num_stages, replicas)
        if fitting is not None:
            best.offer_optimised(fitting)
        if space is not None:
            _search_twice(chain, space, numbers, best)
    if demand.replicas is None and chain.slots == 1:
        searched = 0 if space is None else space.num_layers
        for known in [one for k, one in best.by_stages.items() if k <= searched]:
            filled = assign_spare_devices(chain, known, latency=latency)
            if filled != known:
                best.offer_optimised(filled)
    return PlanCandidates(best.by_stages, uniform, space is not None and space.exact)


def optimise_cuts(chain: Chain, assignment: Assignment, *, latency: bool) -> Assignment:
    """Returns the assignment with the optimal cuts for its device groups; unchanged if they are no better.

    Args:
        chain: The blocks and devices.
        assignment: One that fits, or one without cuts.
        latency: Whether the objective is latency.
    """
    problem = ChainProblem(chain.stages(assignment.groups))
    found = problem.min_latency() if latency else problem.min_period()
    if found is None:
        return assignment
    candidate = replace(assignment, cuts=found[1])
    if len(assignment.cuts) + 1 < assignment.num_stages:
        return candidate
    if not assignment.fits(chain):
        return candidate
    return min(assignment, candidate, key=lambda one: objective_value(chain, one, latency=latency))


def objective_value(chain: Chain, assignment: Assignment, *, latency: bool) -> tuple[int, int]:
    """Returns the value to minimise: (period, latency), or (latency, period) if the objective is latency."""
    alone, period = assignment.latency(chain), assignment.period(chain)
    return (alone, period) if latency else (period, alone)


@dataclass(slots=True)
class _BestAssignments:
    """The best assignment for each number of stages.

    Attributes:
        chain: The blocks and devices.
        by_stages: The best assignment, by number of stages.
        latency: Whether the objective is latency.
        optimised: Sequences of groups whose optimal cuts were computed.
    """

    chain: Chain
    by_stages: dict[int, Assignment]
    latency: bool
    optimised: set[tuple[DeviceGroup, ...]] = field(default_factory=set)

    def offer(self, found: Assignment) -> None:
        """Keeps an assignment if it fits and is better than the known one."""
        if len(found.cuts) + 1 < found.num_stages or not found.fits(self.chain):
            return
        known = self.by_stages.get(found.num_stages)
        if known is None or self.score(found) < self.score(known):
            self.by_stages[found.num_stages] = found

    def offer_optimised(self, found: Assignment) -> None:
        """Keeps an assignment with the optimal cuts for its groups if it is better than the known one."""
        if found.groups not in self.optimised:
            self.optimised.add(found.groups)
            self.offer(optimise_cuts(self.chain, found, latency=self.latency))

    def score(self, assignment: Assignment) -> tuple[int, int]:
        """Returns the objective value of an assignment."""
        return objective_value(self.chain, assignment, latency=self.latency)


def _search_twice(chain: Chain, space: SearchSpace, numbers: list[int], best: _BestAssignments) -> None:
    """Searches over selected cut points, then over a second selection that contains the cuts found."""
    for found in _searched(chain, space, numbers, latency=best.latency):
        best.offer_optimised(found)
    if len(space.points) > chain.num_blocks:
        return
    ranked = sorted(best.by_stages.values(), key=best.score)
    points = select_cut_points(chain, len(space.points) - 1, [cut for one in ranked for cut in one.cuts])
    for found in _searched(chain, replace(space, points=points), numbers, latency=best.latency):
        best.offer_optimised(found)


def _numbers(chain: Chain, demand: Demand) -> list[int]:
    """Returns the numbers of stages to try."""
    if demand.num_stages is not None:
        return [demand.num_stages]
    most = min(chain.num_blocks, sum(chain.counts) // (demand.replicas or 1))
    numbers = list(range(1, min(most, _MAX_EACH_NUMBER) + 1))
    while numbers and numbers[-1] < most:
        numbers.append(min(most, numbers[-1] * 9 // 8))
    return numbers


def _searched(chain: Chain, space: SearchSpace, numbers: list[int], *, latency: bool) -> Iterator[Assignment]:
    """Yields the best assignment within the search space for each of those numbers of stages."""
    pools, pooled, points = space.pools, space.pooled, space.points
    numbers = [k for k in numbers if k <= space.num_layers]
    if space.single:
        alike = [Assignment((), (((0, pools.unit),),) * k) for k in numbers]
        found = [optimise_cuts(pooled, assignment, latency=latency) for assignment in alike]
        found = [one for one in found if len(one.cuts) + 1 == one.num_stages]
    else:
        search = StageSearch(
            pooled if len(points) > chain.num_blocks else pooled.restricted_to(points),
            space.num_layers,
            unit=pools.unit,
            replicate=space.replicate,
            latency=latency,
        )
        solutions = [search.solution(k) for k in numbers]
        found = [
            replace(one, cuts=tuple(points[cut] for cut in one.cuts)) for one in solutions if one is not None
        ]
    for one in found:
        yield pools.assign_devices(chain, pooled, one)
