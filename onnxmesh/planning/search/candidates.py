"""The best assignment for each number of stages."""

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

_MOST_SINGLY = 32
"""Up to here every number of stages is tried; beyond, each is an eighth more than the one before."""


@dataclass(frozen=True, slots=True)
class PlanCandidates:
    """What the search for a plan found.

    Attributes:
        best: For each number of stages that can be had, the best assignment found.
        uniform: The uniform cuts that these were compared with, by number of stages.
        exact: Whether nothing better exists among assignments whose stages are each held by one kind.
    """

    best: dict[int, Assignment]
    uniform: dict[int, Assignment]
    exact: bool


def find_candidates(chain: Chain, demand: Demand, budget: int = SEARCH_BUDGET) -> PlanCandidates:
    """Searches the best assignment for each number of stages that the demand allows.

    Within the budget, `StageSearch` is exact over all cut points, kinds and replicas; so is `ChainProblem`, at any size,
    where there is one kind of device and the replicas are given. Beyond, the heuristic is:

    1. `affordable_search_space` pools kinds, bundles devices and leaves out cut points, until a search is affordable.
    2. The search settles the sequence of kinds and replicas. Devices of a pool go to its stages, the
       fastest to the heaviest.
    3. For that sequence the cuts are found anew, exactly, over all points. They are among the points of a second
       search, which may settle on another sequence.
    4. The uniform cut and, where memory is tight, one that merely fits are compared: the outcome is never worse.

    Where replicas are free, what the search left over goes to the slowest stages, and the cuts follow.

    Args:
        chain: The blocks and devices.
        demand: What is asked.
        budget: Figures that the search may compare.
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
        for known in [one for k, one in best.best.items() if k <= searched]:
            filled = assign_spare_devices(chain, known, latency=latency)
            if filled != known:
                best.offer_optimised(filled)
    return PlanCandidates(best.best, uniform, space is not None and space.exact)


def optimise_cuts(chain: Chain, assignment: Assignment, *, latency: bool) -> Assignment:
    """Returns the assignment with the best cuts for its devices; as it is if those are no better.

    Args:
        chain: The blocks and devices.
        assignment: One that fits, or whose cuts are empty because they are yet to be found.
        latency: Whether the sum counts, not the slowest.
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
    """Returns what is to be small: what counts, then the other of period and latency."""
    alone, period = assignment.latency(chain), assignment.period(chain)
    return (alone, period) if latency else (period, alone)


@dataclass(slots=True)
class _BestAssignments:
    """Keeps the best assignment for each number of stages.

    Attributes:
        chain: The blocks and devices.
        best: By number of stages.
        latency: Whether the sum counts, not the slowest.
        recut: Sequences of groups whose best cuts are known.
    """

    chain: Chain
    best: dict[int, Assignment]
    latency: bool
    recut: set[tuple[DeviceGroup, ...]] = field(default_factory=set)

    def offer(self, found: Assignment) -> None:
        """Puts an assignment among the best if it fits and none is as good."""
        if len(found.cuts) + 1 < found.num_stages or not found.fits(self.chain):
            return
        known = self.best.get(found.num_stages)
        if known is None or self.score(found) < self.score(known):
            self.best[found.num_stages] = found

    def offer_optimised(self, found: Assignment) -> None:
        """Does so with the best cuts for the groups of an assignment."""
        if found.groups not in self.recut:
            self.recut.add(found.groups)
            self.offer(optimise_cuts(self.chain, found, latency=self.latency))

    def score(self, assignment: Assignment) -> tuple[int, int]:
        """Returns what is to be small."""
        return objective_value(self.chain, assignment, latency=self.latency)


def _search_twice(chain: Chain, space: SearchSpace, numbers: list[int], best: _BestAssignments) -> None:
    """Searches over a first choice of points, and over a second that has the cuts which came of it."""
    for found in _searched(chain, space, numbers, latency=best.latency):
        best.offer_optimised(found)
    if len(space.points) > chain.num_blocks:
        return
    ranked = sorted(best.best.values(), key=best.score)
    points = select_cut_points(chain, len(space.points) - 1, [cut for one in ranked for cut in one.cuts])
    for found in _searched(chain, replace(space, points=points), numbers, latency=best.latency):
        best.offer_optimised(found)


def _numbers(chain: Chain, demand: Demand) -> list[int]:
    """Returns the numbers of stages to try."""
    if demand.num_stages is not None:
        return [demand.num_stages]
    most = min(chain.num_blocks, sum(chain.counts) // (demand.replicas or 1))
    numbers = list(range(1, min(most, _MOST_SINGLY) + 1))
    while numbers and numbers[-1] < most:
        numbers.append(min(most, numbers[-1] * 9 // 8))
    return numbers


def _searched(chain: Chain, space: SearchSpace, numbers: list[int], *, latency: bool) -> Iterator[Assignment]:
    """Yields an assignment for each of those numbers of stages, as good as the space shows."""
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
