"""Colours of kinds."""

from __future__ import annotations

from onnxmesh.pictures.colours import KINDS, kind_colour


def test_kind_colours_repeat_after_eight():
    """Eight kinds have eight colours."""
    assert len({kind_colour(position) for position in range(8)}) == 8
    assert kind_colour(8) == kind_colour(0) == KINDS[0]
