"""What devices that hold nothing yet can do for a plan."""

from __future__ import annotations

from dataclasses import replace

from onnxmesh.planning.search.assignment import Assignment
from onnxmesh.planning.search.chain import Chain, DeviceGroup

_STEPS = 64
"""A kind is given out in at most about so many steps, however many devices it has."""


def assign_spare_devices(chain: Chain, assignment: Assignment, *, latency: bool) -> Assignment:
    """Gives spare devices away, one at a time, to the slowest stage that one of them relieves.

    A device of another kind than a stage's own adds its rate, but may slow the stage before it (which must be
    able to send to it) and one request alone. A step is taken if the periods, sorted from the slowest, come
    down; if latency counts, only if that does not rise.

    Args:
        chain: The blocks and devices.
        assignment: What is to be relieved.
        latency: Whether one request alone must not become slower.
    """
    spare = assignment.spare(chain.counts)
    step = [max(1, count // _STEPS) for count in spare]
    ranges = assignment.ranges(chain)
    groups = list(assignment.groups)
    periods = assignment.periods(chain)

    def offer(stage: int, kind: int) -> tuple[list[int], list[DeviceGroup], list[int]] | None:
        """Returns the outcome of a step: periods from the slowest, groups, periods; None if it is no good."""
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
