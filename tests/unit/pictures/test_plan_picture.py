"""Layout of pictures of plans."""

from __future__ import annotations

from itertools import combinations, pairwise

import pytest

from onnxmesh.pictures.geometry import Rect
from onnxmesh.pictures.plan_picture import plan_picture
from tests.unit.pictures.made_plans import made_plan

CASES = [(num_stages, seed) for num_stages in range(1, 17) for seed in range(3)]


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]} stages, seed {case[1]}")
def picture(request):
    num_stages, seed = request.param
    return plan_picture(made_plan(num_stages, 40 * num_stages, seed))


def test_labels_do_not_overlap_or_leave_the_picture(picture):
    """Whatever the plan, every label has its place for itself."""
    whole = Rect(0, 0, picture.width, picture.height)
    for label in picture.labels:
        assert label.bounds.inside(whole), label
    for one, other in combinations(picture.labels, 2):
        assert not one.bounds.overlaps(other.bounds), (one, other)


def test_labels_of_a_stage_stay_in_its_box(picture):
    """A box belongs to its stage alone, and boxes stand side by side."""
    inside = {id(label) for box in picture.stages.boxes for label in box.labels}
    for box in picture.stages.boxes:
        assert all(label.bounds.inside(box.rect) for label in box.labels)
        for label in picture.labels:
            if id(label) not in inside and label.text != "slowest":
                assert not label.bounds.overlaps(box.rect), label
    for one, other in pairwise(picture.stages.boxes):
        assert one.rect.right < other.rect.x


def test_cuts_are_at_their_share_of_the_time():
    """A cut's line is as far along the strip as the nodes before it take of the whole time."""
    facts = made_plan(4, 100)
    strip = plan_picture(facts).strip
    for cut, x in zip(facts.plan.cuts, strip.cuts, strict=True):
        share = sum(facts.node_s[:cut]) / sum(facts.node_s)
        assert (x - strip.strip.x) / strip.strip.width == pytest.approx(share)
