"""Nearness of two processes follows from region, zone and host."""

from __future__ import annotations

import pytest

from onnxmesh.routing.selectors.labels import labels_of
from onnxmesh.routing.table.locality import Locality, Nearness


@pytest.mark.parametrize(
    ("other", "nearness"),
    [
        (Locality("r", "z", "h"), Nearness.HOST),
        (Locality("r", "z", "i"), Nearness.ZONE),
        (Locality("r", "y", "i"), Nearness.REGION),
        (Locality("q", "z", "i"), Nearness.FAR),
        (Locality(), Nearness.ZONE),
        (Locality("", "", "h"), Nearness.HOST),
    ],
)
def test_nearness(other, nearness):
    here = Locality("r", "z", "h")
    assert here.nearness(other) is other.nearness(here) is nearness


def test_locality_of_labels_uses_attributes_before_tags():
    assert Locality.of(labels_of(("zone=tag", "host=t"), {"zone": "eu"})) == Locality("", "eu", "t")
