"""Targets of the mesh with floor and goal, and the result that was measured for each."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.measurement import Run


@dataclass(frozen=True, slots=True)
class Target:
    """A target: a ratio or difference with a floor and a goal.

    Attributes:
        key: Its name in the JSON.
        title: What is compared with what.
        floor: The bound that must be reached; None: informative only.
        goal: The bound that should be reached.
        unit: Empty for a ratio.
        less_is_better: Whether floor and goal are upper bounds.
    """

    key: str
    title: str
    floor: float | None
    goal: float
    unit: str = ""
    less_is_better: bool = False

    def reaches(self, value: float, bound: float) -> bool:
        """Whether a value is as good as `bound`; nan never is."""
        return value <= bound if self.less_is_better else value >= bound


TARGETS = (
    Target(
        "resnet50-replicas", "ResNet-50, 2 replicas, 8 in flight, by 2 bare threads: requests/s", 0.90, 0.97
    ),
    Target(
        "resnet50-2-stages", "ResNet-50, 2 stages over 2 workers, by 2 bare threads: requests/s", 0.80, 0.93
    ),
    Target("resnet50-3-stages", "ResNet-50, 3 stages over 3 workers, by 2 stages: requests/s", 0.90, 1.0),
    Target("identity-p50", "identity, 1 in flight, by Triton: p50", 2.0, 1.0, less_is_better=True),
    Target("identity-triton", "identity, 32 in flight, by Triton: requests/s", 0.8, 1.2),
    Target("identity-kserve", "identity, 32 in flight, by KServe's SDK: requests/s", 1, 2),
    Target("identity-mlserver", "identity, 32 in flight, by MLServer: requests/s", 4, 8),
    Target("identity-ray", "identity, 32 in flight, by Ray Serve: requests/s", 9, 15),
    Target(
        "mlp-batching", "MLP, 64 in flight, batching, by Triton with dynamic batching: requests/s", 1.0, 1.5
    ),
    Target("mlp-2-stages", "MLP in 2 stages, by Ray Serve's 2 deployments: requests/s", 10, 25),
    Target(
        "pipeline",
        "16 rows, 2 stages, 1 in flight, micro-batches by none: p50",
        None,
        0.67,
        less_is_better=True,
    ),
    Target(
        "hop-memory", "10 MB from stage to stage, shared memory: added p50", 5, 2, "ms", less_is_better=True
    ),
    Target("hop-stream", "10 MB from stage to stage, stream: added p50", 25, 12, "ms", less_is_better=True),
    Target(
        "cpu",
        "CPU per request beside ONNX Runtime, identity, 32 in flight",
        350,
        200,
        "µs",
        less_is_better=True,
    ),
    Target("gpu-resnet50", "ResNet-50, batch 32 on a GPU, by CUDA in process: requests/s", 0.85, 0.95),
    Target("gpu-encoder", "transformer, batch 32 on a GPU, by CUDA in process: requests/s", 0.85, 0.95),
    Target(
        "memory",
        "memory of the process that grew most, by that after 1 minute",
        1.10,
        1.03,
        less_is_better=True,
    ),
)


@dataclass(frozen=True, slots=True)
class TargetResult:
    """The result for a target: one value for each round, or the reason why there is none.

    Attributes:
        target: The target.
        rounds: The value of each round; empty if it was not measured.
        sides: The medians of both sides, as text.
        reason: Why it was not measured; empty if it was.
    """

    target: Target
    rounds: tuple[float, ...] = ()
    sides: str = ""
    reason: str = ""

    @property
    def value(self) -> float:
        """The median of the rounds; nan for none."""
        return statistics.median(self.rounds) if self.rounds else float("nan")

    @property
    def verdict(self) -> str:
        """`goal`, `floor`, `below` or `missing`; `told` below the goal of a target without a floor."""
        if not self.rounds:
            return "missing"
        if self.target.reaches(self.value, self.target.goal):
            return "goal"
        if self.target.floor is None:
            return "told"
        return "floor" if self.target.reaches(self.value, self.target.floor) else "below"

    @property
    def of_goal(self) -> float:
        """The share of the goal that is reached, where more is better for every target; nan for none."""
        return of_goal(self.target, self.value)


def of_goal(target: Target, value: float) -> float:
    """Returns a value relative to the goal: 1 is the goal, more is better."""
    if not target.less_is_better:
        return value / target.goal
    # A cost of zero, or below zero by noise, is shown as ten times the goal.
    return target.goal / max(value, target.goal / 10)


def target_of(key: str) -> Target:
    """Returns the target of that key.

    Raises:
        KeyError: There is none.
    """
    if key not in _BY_KEY:
        raise KeyError(f"there is no target '{key}'; there are {', '.join(_BY_KEY)}")
    return _BY_KEY[key]


def by_throughput(key: str, ours: Sequence[Run], theirs: Sequence[Run]) -> TargetResult:
    """Returns the ratios of requests/s, round by round."""
    rounds = _ratios([run.requests_per_s for run in ours], [run.requests_per_s for run in theirs])
    sides = f"{_median_rate(ours)} : {_median_rate(theirs)} /s"
    return TargetResult(target_of(key), rounds, sides)


def by_p50(key: str, ours: Sequence[Run], theirs: Sequence[Run]) -> TargetResult:
    """Returns the ratios of p50, round by round."""
    rounds = _ratios([run.p50_ms for run in ours], [run.p50_ms for run in theirs])
    return TargetResult(target_of(key), rounds, f"{_median_p50(ours)} : {_median_p50(theirs)} ms")


def by_added_p50(key: str, ours: Sequence[Run], without: Sequence[Run]) -> TargetResult:
    """Returns the added p50 in ms, round by round."""
    rounds = tuple(one.p50_ms - other.p50_ms for one, other in zip(ours, without, strict=True))
    return TargetResult(target_of(key), rounds, f"{_median_p50(ours)} - {_median_p50(without)} ms")


def by_cpu(key: str, runs: Sequence[Run], names: Sequence[str], model_us: float) -> TargetResult:
    """Returns the CPU time of a request in some processes without that of the model, in µs, round by round.

    Args:
        key: Key of the target.
        runs: Runs with the CPU time of every process.
        names: The processes to sum.
        model_us: Time of the model in a bare loop.
    """
    rounds = tuple(sum(run.cpu_us[name] for name in names) - model_us for run in runs)
    parts = [f"{name} {statistics.median(run.cpu_us[name] for run in runs):.0f}" for name in names]
    return TargetResult(target_of(key), rounds, f"{' + '.join(parts)} - model {model_us:.1f} µs")


def missing_result(key: str, reason: str) -> TargetResult:
    """Returns a result that was not measured."""
    return TargetResult(target_of(key), reason=reason)


_BY_KEY = {target.key: target for target in TARGETS}


def _ratios(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, ...]:
    return tuple(one / other if other else float("nan") for one, other in zip(ours, theirs, strict=True))


def _median_rate(runs: Sequence[Run]) -> str:
    return f"{statistics.median(run.requests_per_s for run in runs):,.1f}"


def _median_p50(runs: Sequence[Run]) -> str:
    return f"{statistics.median(run.p50_ms for run in runs):.2f}"
