"""Spare devices: assignment of unused devices to the slowest stages."""

from __future__ import annotations

from dataclasses import replace

from onnxmesh.planning.search.assignment import Assignment
from onnxmesh.planning.search.chain import Chain, DeviceGroup

_MAX_STEPS = 64
"""Approximate number of steps in which the devices of a kind are assigned."""


def assign_spare_devices(chain: Chain, assignment: Assignment, *, latency: bool) -> Assignment:
    """Assigns spare devices, step by step, each to the slowest stage that it speeds up.

    A device of another kind adds its rate to a stage, but may slow the stage before, which sends to it, and raise the
    latency. A step is accepted if the periods, sorted from the slowest, decrease lexicographically, and, if the
    objective is latency, if the latency does not rise.

    Args:
        chain: The blocks and devices.
        assignment: The assignment to improve.
        latency: Whether the objective is latency.
    """
    spare = assignment.spare(chain.counts)
    step = [max(1, count // _MAX_STEPS) for count in spare]
    ranges = assignment.ranges(chain)
    groups = list(assignment.groups)
    periods = assignment.periods(chain)

    def offer(stage: int, kind: int) -> tuple[list[int], list[DeviceGroup], list[int]] | None:
        """Returns the outcome of a step: sorted periods, groups, periods; None if it is not accepted."""
        start, end = ranges[stage]
        if spare[kind] == 0 or start < chain.first_start[kind, end]:
            return None
        devices = dict(groups[stage])
        devices[kind] = devices.get(kind, 0) + min(spare[kind], step[kind])
        changed = list(groups)
        changed[stage] = tuple(sorted(devices.items()))
        then = list(periods)
        for near in range(max(0, stage - 1), stage + 1):
            following = changed[near + 1] if near + 1 < len(changed) else None
            then[near] = int(chain.stage(changed[near], following).period(*ranges[near]))
        order = sorted(then, reverse=True)
        if order >= sorted(periods, reverse=True):
            return None
        if latency and _latency(chain, assignment, changed) > _latency(chain, assignment, groups):
            return None
        return order, changed, then

    while any(spare):
        offers = (
            min((made for kind in range(chain.num_kinds) if (made := offer(stage, kind))), default=None)
            for stage in sorted(range(len(periods)), key=lambda stage: -periods[stage])
        )
        best = next((made for made in offers if made is not None), None)
        if best is None:
            break
        _, groups, periods = best
        spare = replace(assignment, groups=tuple(groups)).spare(chain.counts)
    return replace(assignment, groups=tuple(groups))


def _latency(chain: Chain, assignment: Assignment, groups: list[DeviceGroup]) -> int:
    return replace(assignment, groups=tuple(groups)).latency(chain)
