"""Stages as boxes."""

from __future__ import annotations

import pytest

from onnxmesh.pictures.plan_picture import plan_picture
from onnxmesh.pictures.stage_diagram import MIN_BOX_WIDTH
from tests.unit.pictures.made_plans import made_plan


def test_boxes_have_widths_in_proportion_to_periods():
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


def test_diagram_labels_every_direct_input():
    """Each stage with direct inputs has its label, with their size."""
    facts = made_plan(3, 90)
    texts = [label.text for label in plan_picture(facts).stages.labels]
    assert "pos<&>, 80 B" in texts
    assert any(text.startswith(("2 inputs, ", "mask")) for text in texts)
