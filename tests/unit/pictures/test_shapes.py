"""Shapes of pictures."""

from __future__ import annotations

import pytest

from onnxmesh.pictures.shapes import arrow


def test_arrow_has_its_tip_at_the_end_and_its_thickness():
    """A horizontal arrow of 100 pixels and thickness 4: the shaft is 4 high, the head is 9 long and 11 high."""
    (outline,) = arrow((0.0, 0.0), (100.0, 0.0), 4.0, "#000000").outlines
    assert outline[3] == (100.0, 0.0)
    assert (outline[0], outline[6]) == ((0.0, -2.0), (0.0, 2.0))
    assert outline[2] == pytest.approx((91.0, -5.5))


def test_arrow_shorter_than_its_head_is_all_head():
    """No part is before its start."""
    (outline,) = arrow((0.0, 0.0), (3.0, 0.0), 4.0, "#000000").outlines
    assert min(x for x, _ in outline) == 0.0
