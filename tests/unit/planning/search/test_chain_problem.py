"""Optimal cuts for given device groups, against brute force."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.planning.search.chain_problem import ChainProblem
from onnxmesh.planning.search.shared_weights import SharedWeights
from onnxmesh.planning.search.stage_costs import StageCosts


def rows(draw, num_rows, length, most=30):
    row = st.lists(st.integers(0, most), min_size=length, max_size=length)
    return np.array([draw(row) for _ in range(num_rows)], np.int64).reshape(num_rows, length)


@st.composite
def stages(draw, num_blocks, mixed):
    num_kinds = draw(st.integers(1, 3)) if mixed else 1
    prefix = np.concatenate((np.zeros((num_kinds, 1), np.int64), rows(draw, num_kinds, num_blocks)), axis=1)
    transfer = rows(draw, num_kinds, num_blocks + 1)
    transfer[:, [0, -1]] = 0
    starts = sorted(draw(st.lists(st.integers(0, 3), min_size=num_blocks + 1, max_size=num_blocks + 1)))
    return StageCosts(
        prefix=prefix.cumsum(axis=1),
        transfer=transfer,
        counts=tuple(draw(st.lists(st.integers(1, 3), min_size=num_kinds, max_size=num_kinds))),
        first_start=np.minimum(starts, np.arange(num_blocks + 1)),
    )


@st.composite
def problems(draw, mixed=True):
    num_blocks = draw(st.integers(1, 7))
    num_stages = draw(st.integers(1, num_blocks))
    return ChainProblem([draw(stages(num_blocks, mixed)) for _ in range(num_stages)])


def all_cuts(problem):
    """Every cut that fits."""
    for cuts in combinations(range(1, problem.num_blocks), len(problem.stages) - 1):
        ranges = list(pairwise((0, *cuts, problem.num_blocks)))
        if all(a >= stage.first_start[b] for stage, (a, b) in zip(problem.stages, ranges, strict=True)):
            yield cuts, ranges


def slowest(problem, ranges):
    return max(int(stage.period(*where)) for stage, where in zip(problem.stages, ranges, strict=True))


@given(problems())
def test_min_period_equals_brute_force(problem):
    """The slowest stage is as fast as in the best of all cuts; None exactly if memory forbids every cut."""
    expected = min((slowest(problem, ranges) for _, ranges in all_cuts(problem)), default=None)
    found = problem.min_period()
    assert (None if found is None else found[0]) == expected
    if found is not None:
        assert slowest(problem, dict(all_cuts(problem))[found[1]]) == expected


@given(problems(), st.integers(0, 100))
def test_cut_within_a_bound_is_found_exactly_if_brute_force_finds_one(problem, bound):
    """And the one that is found is within it."""
    candidates = {cuts for cuts, ranges in all_cuts(problem) if slowest(problem, ranges) <= bound}
    found = problem.cut_within(bound)
    assert found in candidates if candidates else found is None


@given(problems())
def test_min_latency_equals_brute_force(problem):
    """The sum of delays is the least of all cuts."""
    sums = {
        cuts: sum(int(stage.delay(*where)) for stage, where in zip(problem.stages, ranges, strict=True))
        for cuts, ranges in all_cuts(problem)
    }
    found = problem.min_latency()
    assert (None if found is None else found[0]) == min(sums.values(), default=None)
    assert found is None or sums[found[1]] == found[0]


@given(problems(), st.integers(0, 60), st.data())
def test_min_bytes_equal_brute_force(problem, bound, data):
    """Under any bound, bytes and copies of weights together are the fewest of all cuts, and the cut given has them."""
    blocks = problem.num_blocks
    num_bytes = np.array([0, *data.draw(st.lists(st.integers(0, 9), min_size=blocks, max_size=blocks))])
    num_bytes[-1] = 0
    uses = data.draw(st.lists(st.sets(st.integers(0, 2)), min_size=blocks, max_size=blocks))
    sizes = [5, 1, 3]

    def weight(cuts, ranges):
        held = sum(sizes[w] for a, b in ranges for w in set().union(*uses[a:b]))
        return sum(int(num_bytes[cut]) for cut in cuts) + held - sum(sizes[w] for w in set().union(*uses))

    weights = {
        cuts: weight(cuts, ranges) for cuts, ranges in all_cuts(problem) if slowest(problem, ranges) <= bound
    }
    found = problem.min_bytes(bound, num_bytes, SharedWeights([sorted(use) for use in uses], sizes))
    assert (None if found is None else found[0]) == min(weights.values(), default=None)
    assert found is None or weights[found[1]] == found[0]
