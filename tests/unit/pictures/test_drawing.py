"""Pictures as SVG documents."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from onnxmesh.model.cluster import Cluster, DeviceKind
from onnxmesh.model.graph_costs import GraphCosts, NodeCost
from onnxmesh.model.plan import Objective, Plan, StagePlan, WholeModel
from onnxmesh.model.signature import Signature
from onnxmesh.pictures.drawing import svg_of
from onnxmesh.pictures.plan_facts import plan_facts
from onnxmesh.pictures.plan_picture import plan_picture
from tests.unit.pictures.made_plans import made_plan


@pytest.mark.parametrize("num_stages", [1, 2, 7, 16])
def test_svg_is_xml_with_escaped_names(num_stages):
    """Names with markup, quotes and control characters come through, or are replaced where XML has none."""
    facts = made_plan(num_stages, 60, model="<script>&\"'\x07\ud800 名")
    root = ET.fromstring(svg_of(plan_picture(facts)).encode())
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert any(text.startswith("<script>&\"'\ufffd\ufffd 名: ") for text in texts)
    assert not list(root.iter("{http://www.w3.org/2000/svg}script"))


def test_svg_is_deterministic():
    """Nothing in a picture is left to chance."""
    assert svg_of(plan_picture(made_plan(6, 300))) == svg_of(plan_picture(made_plan(6, 300)))


def test_svg_of_thousands_of_nodes_is_small():
    """What is too thin to see is merged: 5,000 nodes over 16 stages stay under 200 kB."""
    assert len(svg_of(plan_picture(made_plan(16, 5000))).encode()) < 200_000


@pytest.mark.parametrize("num_nodes", [0, 1, 3])
def test_svg_of_a_model_without_time_is_valid(num_nodes):
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
