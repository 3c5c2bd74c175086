"""Choosing where to cut a graph."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from onnxmesh.errors import InvalidPlan
from onnxmesh.planning.chain_problem import ChainProblem
from onnxmesh.planning.device_speed import DeviceSpeed
from onnxmesh.planning.profile import GraphProfile

_PICOSECONDS = 1_000_000_000_000
_BYTES_SLACK_PERCENT = 8
"""How much slower than the best a cut may be to save bytes on the wire."""
_WORTHWHILE_PERCENT = 80
"""Another stage must bring the bottleneck below this share of what it was."""


@dataclass(frozen=True, slots=True)
class StageEstimate:
    """What the planner expects of one stage.

    Attributes:
        start: First node.
        end: One past the last node.
        compute_s: Estimated time to run it.
        transfer_s: Estimated time to send what crosses the cut after it; 0 for the last stage.
        boundary_bytes: What crosses that cut; 0 for the last stage.
        weight_bytes: Weights it holds.
    """

    start: int
    end: int
    compute_s: float
    transfer_s: float
    boundary_bytes: int
    weight_bytes: int

    @property
    def cost_s(self) -> float:
        """Time that the stage keeps a pipeline busy for each request."""
        return self.compute_s + self.transfer_s


@dataclass(frozen=True, slots=True)
class CutPlan:
    """Where to cut, and what to expect of it.

    Attributes:
        cuts: Positions in the row of nodes, ascending; one fewer than stages.
        stages: An estimate for each stage.
        why: One sentence for people: how the number of stages came about and what it costs.
    """

    cuts: tuple[int, ...]
    stages: tuple[StageEstimate, ...]
    why: str

    @property
    def bottleneck_s(self) -> float:
        """Estimated cost of the slowest stage."""
        return max(stage.cost_s for stage in self.stages)


def plan_cuts(
    profile: GraphProfile,
    num_stages: int | None = None,
    max_stages: int = 8,
    *,
    memory_bytes_per_device: int | None = None,
    speed: DeviceSpeed | None = None,
) -> CutPlan:
    """Cuts a graph so that its slowest stage is as fast as possible.

    A stage costs the estimated time of its nodes plus the time to send its boundary (see `DeviceSpeed`
    for both). First pass: the least possible cost of the slowest stage, exactly. Second pass: of all
    cuts within 8 % of it, one with the fewest boundary bytes, and of those one that is as fast as possible
    to 1 %.

    `num_stages` None chooses: the fewest stages whose weights fit, then one more as long as that takes at
    least 20 % off the slowest stage, up to `max_stages`. Node costs come from shapes with unknown
    dimensions taken as 1, so the choice errs towards few stages for models with a free batch.

    Args:
        profile: Costs of the linearised graph.
        num_stages: How many stages, or None to choose. Not limited by `max_stages`.
        max_stages: The most stages to choose; usually the number of workers.
        memory_bytes_per_device: Bound on the weights of a stage, or None.
        speed: Speeds of devices and links; the defaults serve for balance.

    Raises:
        InvalidPlan: The graph cannot be cut into so many stages, or no cut fits the memory
            (INVALID_ARGUMENT).
    """
    speed = speed or DeviceSpeed()
    most = profile.max_stages
    if max_stages < 1:
        msg = f"at least 1 stage is needed; at most {max_stages} were allowed"
        raise InvalidPlan(msg)
    if num_stages is not None and num_stages < 1:
        msg = f"a model is run in at least 1 stage; {num_stages} were asked for"
        raise InvalidPlan(msg)
    if num_stages is not None and num_stages > most:
        msg = f"model can be cut into at most {_count(most)}; {num_stages} were asked for"
        raise InvalidPlan(msg)
    if not profile.nodes:
        return CutPlan((), (_estimate(profile, speed, 0, 0),), "1 stage: the model computes nothing")
    positions = (0, *profile.legal_cuts, len(profile.nodes))
    problem = _problem(profile, positions, speed, memory_bytes_per_device)
    if num_stages is None:
        num_stages, why = _choose(problem, min(max_stages, most), memory_bytes_per_device)
    else:
        why = f"{_count(num_stages)} as asked"
    best = problem.minimal_bound(num_stages)
    if best is None:
        raise InvalidPlan(_no_fit(problem, num_stages, memory_bytes_per_device))
    blocks = _fewest_bytes_near(problem, num_stages, best)
    cuts = tuple(positions[block] for block in blocks)
    stages = tuple(
        _estimate(profile, speed, start, end) for start, end in pairwise((0, *cuts, len(profile.nodes)))
    )
    slowest = max(stages, key=lambda stage: stage.cost_s)
    whole = problem.prefix[-1] / _PICOSECONDS
    why += f"; estimated: {whole * 1e3:.3g} ms whole"
    if cuts:
        crossing = sum(stage.boundary_bytes for stage in stages)
        why += (
            f", {slowest.cost_s * 1e3:.3g} ms in the slowest stage with its sending; {crossing} bytes cross"
        )
    return CutPlan(cuts, stages, why)


def _problem(
    profile: GraphProfile, positions: tuple[int, ...], speed: DeviceSpeed, memory_bytes: int | None
) -> ChainProblem:
    """Joins the nodes between two legal cuts into one block."""
    node_ps = [speed.node_ps(node.flops, node.bytes_moved) for node in profile.nodes]
    between = list(pairwise(positions))
    crossing = [profile.boundaries[p - 1].num_bytes for p in positions[1:-1]]
    return ChainProblem(
        cost=[sum(node_ps[start:end]) for start, end in between],
        transfer=[0, *(speed.transfer_ps(num_bytes) for num_bytes in crossing), 0],
        num_bytes=[0, *crossing, 0],
        weights=[
            sorted({weight for node in profile.nodes[start:end] for weight in node.weights})
            for start, end in between
        ],
        weight_bytes=profile.weights,
        memory_bytes=memory_bytes,
    )


def _choose(problem: ChainProblem, most: int, memory_bytes: int | None) -> tuple[int, str]:
    """Returns the number of stages that `num_stages=None` asks for, and why."""
    fitting = next((k for k in range(1, most + 1) if problem.minimal_bound(k) is not None), None)
    if fitting is None:
        raise InvalidPlan(_no_fit(problem, most, memory_bytes))
    chosen = fitting
    while chosen < most:
        now, then = problem.minimal_bound(chosen), problem.minimal_bound(chosen + 1)
        if now is None or then is None or then * 100 > now * _WORTHWHILE_PERCENT:
            break
        chosen += 1
    if chosen == most:
        reason = "no more are possible" if most > 1 else "one is all there can be"
    else:
        reason = "another would take less than 20 % off the slowest"
    memory = f"{_count(fitting)} to fit in memory, " if fitting > 1 else ""
    return chosen, f"{_count(chosen)} chosen: {memory}{reason}"


def _fewest_bytes_near(problem: ChainProblem, num_stages: int, best: int) -> tuple[int, ...]:
    """Returns the blocks at which to cut: fewest bytes within 8 % of the best, then fastest to 1 %."""

    def within(percent: int) -> tuple[int, tuple[int, ...]]:
        found = problem.fewest_bytes(num_stages, best + best * percent // 100)
        if found is None:
            msg = f"a bound that was reached became unreachable: {best} + {percent} %"
            raise RuntimeError(msg)
        return found

    low, high = 0, _BYTES_SLACK_PERCENT
    fewest, blocks = within(high)
    while low < high:
        middle = (low + high) // 2
        num_bytes, candidate = within(middle)
        if num_bytes <= fewest:
            high, blocks = middle, candidate
        else:
            low = middle + 1
    return blocks


def _estimate(profile: GraphProfile, speed: DeviceSpeed, start: int, end: int) -> StageEstimate:
    compute_ps = sum(speed.node_ps(node.flops, node.bytes_moved) for node in profile.nodes[start:end])
    last = end == len(profile.nodes)
    boundary_bytes = 0 if last else profile.boundaries[end - 1].num_bytes
    return StageEstimate(
        start=start,
        end=end,
        compute_s=compute_ps / _PICOSECONDS,
        transfer_s=0.0 if last else speed.transfer_ps(boundary_bytes) / _PICOSECONDS,
        boundary_bytes=boundary_bytes,
        weight_bytes=profile.weight_bytes(start, end),
    )


def _no_fit(problem: ChainProblem, num_stages: int, memory_bytes: int | None) -> str:
    largest = max(sum(problem.weight_bytes[w] for w in set(weights)) for weights in problem.weights)
    return (
        f"no cut into {_count(num_stages)} keeps every stage's weights within {memory_bytes} bytes; "
        f"the largest part that cannot be cut has {largest} bytes of weights"
    )


def _count(num_stages: int) -> str:
    return f"{num_stages} stage" if num_stages == 1 else f"{num_stages} stages"
