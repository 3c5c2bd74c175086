"""The picture of a plan, told by its boxes."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from itertools import combinations, pairwise

import pytest

from onnxmesh.model.cluster import Cluster, DeviceKind
from onnxmesh.model.graph_costs import GraphCosts, NodeCost
from onnxmesh.model.plan import Objective, Plan, StagePlan, WholeModel
from onnxmesh.model.signature import Signature
from onnxmesh.pictures.drawing import svg_of
from onnxmesh.pictures.geometry import Rect
from onnxmesh.pictures.plan_facts import plan_facts
from onnxmesh.pictures.plan_picture import plan_picture
from onnxmesh.pictures.stage_diagram import MIN_BOX_WIDTH
from tests.unit.pictures.made_plans import made_plan

CASES = [(num_stages, seed) for num_stages in range(1, 17) for seed in range(3)]


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]} stages, seed {case[1]}")
def picture(request):
    num_stages, seed = request.param
    return plan_picture(made_plan(num_stages, 40 * num_stages, seed))


def test_no_text_overlaps_another_or_leaves_the_picture(picture):
    """Whatever the plan, every label has its place for itself."""
    whole = Rect(0, 0, picture.width, picture.height)
    for label in picture.labels:
        assert label.bounds.inside(whole), label
    for one, other in combinations(picture.labels, 2):
        assert not one.bounds.overlaps(other.bounds), (one, other)


def test_text_of_a_stage_stays_in_its_box_and_other_text_out_of_it(picture):
    """A box belongs to its stage alone, and boxes stand side by side."""
    inside = {id(label) for box in picture.stages.boxes for label in box.labels}
    for box in picture.stages.boxes:
        assert all(label.bounds.inside(box.rect) for label in box.labels)
        for label in picture.labels:
            if id(label) not in inside and label.text != "slowest":
                assert not label.bounds.overlaps(box.rect), label
    for one, other in pairwise(picture.stages.boxes):
        assert one.rect.right < other.rect.x


def test_boxes_are_as_wide_as_their_time_and_the_slowest_is_widest():
    """Of boxes that are wider than their text needs, widths are in proportion to periods."""
    facts = made_plan(5, 200, seed=4)
    boxes = plan_picture(facts).stages.boxes
    wide = [
        (box.rect.width, stage.period_s)
        for box, stage in zip(boxes, facts.plan.stages, strict=True)
        if box.rect.width > MIN_BOX_WIDTH + 1
    ]
    assert wide
    assert max(range(5), key=lambda i: boxes[i].rect.width) == facts.plan.bottleneck
    for width, period_s in wide:
        assert width / period_s == pytest.approx(wide[0][0] / wide[0][1])


def test_cuts_stand_where_their_time_is():
    """A cut's line is as far along the strip as the nodes before it take of the whole time."""
    facts = made_plan(4, 100)
    strip = plan_picture(facts).strip
    for cut, x in zip(facts.plan.cuts, strip.cuts, strict=True):
        share = sum(facts.node_s[:cut]) / sum(facts.node_s)
        assert (x - strip.strip.x) / strip.strip.width == pytest.approx(share)


def test_every_direct_input_is_drawn_from_the_gateway():
    """Each stage with direct inputs has its label, with their size."""
    facts = made_plan(3, 90)
    texts = [label.text for label in plan_picture(facts).stages.labels]
    assert "pos<&>, 80 B" in texts
    assert any(text.startswith(("2 inputs, ", "mask")) for text in texts)


@pytest.mark.parametrize("num_stages", [1, 2, 7, 16])
def test_the_document_is_xml_with_names_as_they_are(num_stages):
    """Names with markup, quotes and control characters come through, or are replaced where XML has none."""
    facts = made_plan(num_stages, 60, model="<script>&\"'\x07\ud800 名")
    root = ET.fromstring(svg_of(plan_picture(facts)).encode())
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert any(text.startswith("<script>&\"'\ufffd\ufffd 名: ") for text in texts)
    assert not list(root.iter("{http://www.w3.org/2000/svg}script"))


def test_equal_plans_give_equal_documents():
    """Nothing in a picture is left to chance."""
    assert svg_of(plan_picture(made_plan(6, 300))) == svg_of(plan_picture(made_plan(6, 300)))


def test_thousands_of_nodes_make_no_large_file():
    """What is too thin to see is merged: 5,000 nodes over 16 stages stay under 200 kB."""
    assert len(svg_of(plan_picture(made_plan(16, 5000))).encode()) < 200_000


@pytest.mark.parametrize("num_nodes", [0, 1, 3])
def test_a_model_of_no_time_has_a_picture(num_nodes):
    """No nodes, or nodes that take no time and nothing alive: still a document without broken figures."""
    nodes = tuple(NodeCost(f"n{i}", "Identity", 0, 0, ()) for i in range(num_nodes))
    boundaries = tuple(made_plan(1, 2).costs.boundaries[0] for _ in range(max(0, num_nodes - 1)))
    costs = GraphCosts(nodes, boundaries, (), (), Signature((), ()))
    stage = StagePlan(
        start=0,
        end=num_nodes,
        devices=(("a", 1),),
        compute_s=0.0,
        transfer_s=0.0,
        period_s=0.0,
        boundary_bytes=0,
        weight_bytes=0,
        peak_bytes=0,
    )
    plan = Plan(Objective.LATENCY, (stage,), WholeModel("a", 0.0, 0, fits=True), "nothing to do")
    facts = plan_facts("empty", plan, costs, Cluster((DeviceKind("a"),)), None, "estimated")
    text = svg_of(plan_picture(facts))
    assert ET.fromstring(text.encode()).tag.endswith("svg")
    assert "nan" not in text
    assert "inf" not in text
