"""Cut plans that can be computed by hand."""

from __future__ import annotations

import random
import subprocess
import sys
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.errors import InvalidPlan
from onnxmesh.planning.device_speed import DeviceSpeed
from onnxmesh.planning.graph_costs import Boundary, GraphCosts, NodeCost
from onnxmesh.planning.plan import plan_cuts
from onnxmesh.planning.signature import Signature

PLAIN = DeviceSpeed(
    flops_per_s=1.0, bytes_per_s=1.0, node_overhead_s=0.0, link_bytes_per_s=1e6, link_latency_s=0.0
)


def profile(flops, boundary_bytes=None, illegal=(), weights=None, weight_bytes=()):
    count = len(flops)
    sizes = boundary_bytes or [1] * (count - 1)
    uses = weights or [()] * count
    return GraphCosts(
        nodes=tuple(NodeCost(f"n{i}", "Op", flops[i], 0, tuple(uses[i])) for i in range(count)),
        boundaries=tuple(
            Boundary(size, 1, "a sequence" if p in illegal else None) for p, size in enumerate(sizes, start=1)
        ),
        weights=tuple(weight_bytes),
        signature=Signature((), ()),
    )


def test_equal_nodes_are_shared_equally():
    """Nine equal nodes in three stages: three each."""
    assert plan_cuts(profile([10] * 9), 3, speed=PLAIN).cuts == (3, 6)


def test_the_heavy_node_stands_alone():
    """The slowest stage decides, not the number of nodes."""
    assert plan_cuts(profile([1, 1, 100, 1, 1]), 3, speed=PLAIN).cuts == (2, 3)


def test_a_thin_boundary_is_worth_eight_percent():
    """Within 8 % of the best time, the cut with the fewest bytes is taken; beyond, the time counts."""
    assert plan_cuts(profile([50, 2, 50], [1000, 10]), 2, speed=PLAIN).cuts == (2,)
    assert plan_cuts(profile([50, 2, 50], [10, 1000]), 2, speed=PLAIN).cuts == (1,)
    assert plan_cuts(profile([50, 20, 60], [1000, 10]), 2, speed=PLAIN).cuts == (2,)
    assert plan_cuts(profile([50, 20, 80], [1000, 10]), 2, speed=PLAIN).cuts == (2,)
    assert plan_cuts(profile([50, 40, 70], [1000, 10]), 2, speed=PLAIN).cuts == (2,)
    assert plan_cuts(profile([70, 40, 50], [1000, 10]), 2, speed=PLAIN).cuts == (1,)


def test_equal_bytes_leave_the_time_to_decide():
    """The slack of 8 % is not used up where it saves nothing."""
    flops = [100] * 40
    assert plan_cuts(profile(flops), 2, speed=PLAIN).cuts == (20,)
    assert plan_cuts(profile(flops), 4, speed=PLAIN).cuts == (10, 20, 30)


def test_a_slow_link_moves_the_cut():
    """Sending is part of a stage's cost."""
    slow = DeviceSpeed(
        flops_per_s=1.0, bytes_per_s=1.0, node_overhead_s=0.0, link_bytes_per_s=1.0, link_latency_s=0.0
    )
    assert plan_cuts(profile([10, 10, 10, 10], [1, 90, 1]), 2, speed=slow).cuts != (2,)
    assert plan_cuts(profile([10, 10, 10, 10], [1, 90, 1]), 2, speed=PLAIN).cuts == (2,)


def test_cuts_are_legal_ones():
    """The best position is not taken if something crosses it that cannot be sent."""
    assert plan_cuts(profile([10] * 4, illegal={2}), 2, speed=PLAIN).cuts != (2,)


def test_too_many_stages_say_how_many_are_possible():
    """The message has both figures."""
    with pytest.raises(InvalidPlan, match=r"^model can be cut into at most 3 stages; 5 were asked for$"):
        plan_cuts(profile([1] * 4, illegal={2}), 5)
    with pytest.raises(InvalidPlan, match=r"^model can be cut into at most 1 stage; 2 were asked for$"):
        plan_cuts(profile([1]), 2)


@pytest.mark.parametrize("num_stages", [0, -1])
def test_no_stage_is_no_plan(num_stages):
    """Zero and less are refused."""
    with pytest.raises(InvalidPlan, match="at least 1 stage"):
        plan_cuts(profile([1, 1]), num_stages)


def test_a_graph_without_nodes_is_one_stage():
    """A model whose outputs are its inputs is served too."""
    empty = GraphCosts((), (), (), Signature((), ()))
    plan = plan_cuts(empty, None)
    assert plan.cuts == ()
    assert len(plan.stages) == 1
    with pytest.raises(InvalidPlan):
        plan_cuts(empty, 2)


def test_shared_weights_count_once_in_a_stage_and_again_in_another():
    """Tied weights are held by each stage that reads them."""
    tied = profile([10, 10, 10], weights=[(0,), (1,), (0,)], weight_bytes=(100, 10))
    whole = plan_cuts(tied, 1, speed=PLAIN)
    assert whole.stages[0].weight_bytes == 110
    cut = plan_cuts(tied, 3, speed=PLAIN)
    assert [stage.weight_bytes for stage in cut.stages] == [100, 10, 100]


def test_auto_takes_as_many_stages_as_memory_needs():
    """Four weights of 10 on devices of 20 are two stages, though speed would not ask for them."""
    heavy = profile([1, 0, 0, 0], weights=[(0,), (1,), (2,), (3,)], weight_bytes=(10, 10, 10, 10))
    plan = plan_cuts(heavy, None, 8, memory_bytes_per_device=20, speed=PLAIN)
    assert [stage.weight_bytes for stage in plan.stages] == [20, 20]
    assert "to fit in memory" in plan.why


def test_auto_stops_where_another_stage_brings_little():
    """One node that takes nearly all the time cannot be divided."""
    plan = plan_cuts(profile([1, 100, 1]), None, 8, speed=PLAIN)
    assert plan.cuts == ()
    assert len(plan_cuts(profile([10] * 16), None, 4, speed=PLAIN).stages) == 4
    assert len(plan_cuts(profile([10] * 16), None, 1, speed=PLAIN).stages) == 1


def test_a_model_that_fits_nowhere_says_what_is_too_big():
    """The message names the limit and the part that does not fit."""
    heavy = profile([1, 1], weights=[(0,), (1,)], weight_bytes=(10, 50))
    with pytest.raises(InvalidPlan, match=r"within 20 bytes.*has 50 bytes"):
        plan_cuts(heavy, None, 8, memory_bytes_per_device=20)
    with pytest.raises(InvalidPlan, match="no cut into 1 stage "):
        plan_cuts(heavy, 1, memory_bytes_per_device=55)


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=30), st.data())
def test_stages_tile_the_graph(flops, data):
    """Whatever is asked, stages follow one another without gap, none is empty, and the cuts are legal."""
    illegal = data.draw(st.sets(st.integers(1, 30)))
    made = profile(flops, illegal=illegal)
    num_stages = data.draw(st.one_of(st.none(), st.integers(1, made.max_stages)))
    plan = plan_cuts(made, num_stages)
    bounds = [0, *plan.cuts, len(flops)]
    assert [(stage.start, stage.end) for stage in plan.stages] == list(pairwise(bounds))
    assert all(start < end for start, end in pairwise(bounds))
    assert set(plan.cuts) <= set(made.legal_cuts)
    assert num_stages is None or len(plan.stages) == num_stages


def test_a_graph_of_five_thousand_nodes_is_planned():
    """Large graphs are no other case; the same graph gives the same plan."""
    rng = random.Random(1)
    flops = [rng.randrange(10**9) for _ in range(5000)]
    large = profile(flops, [rng.randrange(1, 10**6) for _ in range(4999)])
    plan = plan_cuts(large, 8)
    assert len(plan.stages) == 8
    assert plan == plan_cuts(GraphCosts.from_json(large.to_json()), 8)
    assert plan.bottleneck_s < 1.2 * sum(stage.cost_s for stage in plan.stages) / 8


def test_planning_needs_neither_numpy_nor_onnx():
    """The scheduler plans on a machine that has no runtime: importing the planner loads none of it."""
    program = (
        "import sys; import onnxmesh.planning.plan, onnxmesh.planning.partition\n"
        "print(*{'numpy', 'onnx', 'onnx_ir', 'onnxruntime'} & set(sys.modules))"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == ""
