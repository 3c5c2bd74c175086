"""Placement does not depend on the order of its inputs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.ids import WorkerId
from services.scheduler.placement.placement import decide_placement
from tests.unit.scheduler.placement_tables import stages, view

PLACES = st.lists(st.tuples(st.sampled_from("xyz"), st.sampled_from("hi")), min_size=1, max_size=7)


@given(PLACES, st.lists(st.tuples(st.integers(1, 3), st.integers(1, 3)), max_size=4), st.randoms())
def test_placement_state_does_not_depend_on_the_order_of_its_inputs(places, models, rng):
    """The same workers and stages give the same placement."""
    workers = [
        view(WorkerId(f"w{index}"), facts={"zone": zone, "host": host})
        for index, (zone, host) in enumerate(places)
    ]
    desired = [
        stage
        for index, (num, replicas) in enumerate(models)
        for stage in stages(f"m{index}", num, replicas=replicas)
    ]
    expected = decide_placement(desired, workers, 0.0)
    rng.shuffle(workers)
    rng.shuffle(desired)
    assert decide_placement(desired, workers, 0.0) == expected
