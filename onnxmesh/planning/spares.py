"""What devices that hold nothing yet can do for a plan."""

from __future__ import annotations

from dataclasses import replace

from onnxmesh.planning.assignment import Assignment
from onnxmesh.planning.chain import Chain

_STEPS = 64
"""A kind is given out in at most about so many steps, however many devices it has."""


def with_spares(chain: Chain, assignment: Assignment, *, latency: bool) -> Assignment:
    """Gives spare devices away, one at a time, to the slowest stage that one of them relieves.

    A device of another kind than a stage's own adds its rate, but may slow the stage before it (which must be
    able to send to it) and one request alone. A step is taken if the periods, sorted from the slowest, come
    down; if latency counts, only if that does not rise.

    Args:
        chain: The blocks and devices.
        assignment: What is to be relieved.
        latency: Whether one request alone must not become slower.
    """
    step = [max(1, count // _STEPS) for count in assignment.spare(chain.counts)]
    while (relieved := _step(chain, assignment, step, latency=latency)) is not None:
        assignment = relieved
    return assignment


def _step(chain: Chain, assignment: Assignment, step: list[int], *, latency: bool) -> Assignment | None:
    spare = assignment.spare(chain.counts)
    if not any(spare):
        return None
    periods = assignment.periods(chain)
    now = sorted(periods, reverse=True)
    alone = assignment.latency(chain)
    ranges = assignment.ranges(chain)
    for stage in sorted(range(len(periods)), key=lambda stage: -periods[stage]):
        start, end = ranges[stage]
        best = None
        for kind in range(chain.num_kinds):
            count = min(spare[kind], step[kind])
            if count == 0 or start < chain.first_start[kind, end]:
                continue
            devices = dict(assignment.holders[stage])
            devices[kind] = devices.get(kind, 0) + count
            holders = list(assignment.holders)
            holders[stage] = tuple(sorted(devices.items()))
            candidate = replace(assignment, holders=tuple(holders))
            then = sorted(candidate.periods(chain), reverse=True)
            if then < now and not (latency and candidate.latency(chain) > alone):
                best = min(best or (then, kind, candidate), (then, kind, candidate), key=lambda one: one[:2])
        if best is not None:
            return best[2]
    return None
