"""The solver against brute force."""

from __future__ import annotations

from itertools import combinations, pairwise

from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.planning.chain_problem import ChainProblem


@st.composite
def problems(draw):
    m = draw(st.integers(1, 8))
    figures = st.integers(0, 30)
    num_weights = draw(st.integers(0, 5))
    weights = st.lists(st.integers(0, num_weights - 1), max_size=3) if num_weights else st.just([])
    return ChainProblem(
        cost=draw(st.lists(figures, min_size=m, max_size=m)),
        transfer=[0, *draw(st.lists(figures, min_size=m - 1, max_size=m - 1)), 0],
        num_bytes=[0, *draw(st.lists(figures, min_size=m - 1, max_size=m - 1)), 0],
        weights=draw(st.lists(weights, min_size=m, max_size=m)),
        weight_bytes=draw(st.lists(st.integers(0, 10), min_size=num_weights, max_size=num_weights)),
        memory_bytes=draw(st.one_of(st.none(), st.integers(0, 40))),
    )


def fits(problem, cuts):
    def held(start, end):
        used = {weight for block in problem.weights[start:end] for weight in block}
        return sum(problem.weight_bytes[weight] for weight in used)

    stages = pairwise([0, *cuts, problem.num_blocks])
    return problem.memory_bytes is None or all(held(*stage) <= problem.memory_bytes for stage in stages)


def slowest(problem, cuts):
    return max(problem.stage_cost(*stage) for stage in pairwise([0, *cuts, problem.num_blocks]))


def all_cuts(problem, num_stages):
    every = combinations(range(1, problem.num_blocks), num_stages - 1)
    return [cuts for cuts in every if fits(problem, cuts)]


@given(problems(), st.data())
def test_the_least_bound_is_brute_forces(problem, data):
    """The slowest stage is as fast as the best of all cuts; None exactly if memory forbids every cut."""
    num_stages = data.draw(st.integers(1, problem.num_blocks))
    candidates = all_cuts(problem, num_stages)
    expected = min((slowest(problem, cuts) for cuts in candidates), default=None)
    assert problem.minimal_bound(num_stages) == expected


@given(problems(), st.data())
def test_the_fewest_bytes_are_brute_forces(problem, data):
    """Under any bound, the bytes are the fewest of all cuts that keep it, and the cut given has them."""
    num_stages = data.draw(st.integers(1, problem.num_blocks))
    bound = data.draw(st.integers(0, 100))
    candidates = [cuts for cuts in all_cuts(problem, num_stages) if slowest(problem, cuts) <= bound]
    found = problem.fewest_bytes(num_stages, bound)
    if not candidates:
        assert found is None
        return
    assert found is not None
    num_bytes, cuts = found
    assert num_bytes == min(sum(problem.num_bytes[p] for p in cuts) for cuts in candidates)
    assert num_bytes == sum(problem.num_bytes[p] for p in cuts)
    assert cuts in candidates


@given(problems(), st.data())
def test_feasible_is_what_the_bound_says(problem, data):
    """A bound is feasible exactly from the least one upwards."""
    num_stages = data.draw(st.integers(1, problem.num_blocks))
    bound = data.draw(st.integers(0, 300))
    least = problem.minimal_bound(num_stages)
    assert problem.feasible(num_stages, bound) == (least is not None and least <= bound)
