"""What a picture is made of, beside its labels."""

from __future__ import annotations

import math
from dataclasses import dataclass

from onnxmesh.pictures.geometry import Point, Rect


@dataclass(frozen=True, slots=True)
class Panel:
    """A box with round corners.

    Attributes:
        rect: Where it is.
        fill: Its colour; `none` leaves it open.
        stroke: Colour of its edge; `none` draws none.
        stroke_width: Of its edge.
        radius: Of its corners.
        opacity: Of its fill.
    """

    rect: Rect
    fill: str = "none"
    stroke: str = "none"
    stroke_width: float = 1.0
    radius: float = 0.0
    opacity: float = 1.0


@dataclass(frozen=True, slots=True)
class Strokes:
    """Lines that are drawn alike.

    Attributes:
        lines: Each from point to point.
        stroke: Their colour.
        width: Their thickness.
        opacity: Of the colour.
    """

    lines: tuple[tuple[Point, ...], ...]
    stroke: str
    width: float = 1.0
    opacity: float = 1.0


@dataclass(frozen=True, slots=True)
class Areas:
    """Polygons that are filled alike.

    Attributes:
        outlines: Each from corner to corner.
        fill: Their colour.
        opacity: Of the colour.
    """

    outlines: tuple[tuple[Point, ...], ...]
    fill: str
    opacity: float = 1.0


@dataclass(frozen=True, slots=True)
class Dot:
    """A small disc with a light edge."""

    centre: Point
    radius: float
    fill: str


Shape = Panel | Strokes | Areas | Dot

_HEAD = 7.0


def arrow(start: Point, end: Point, thickness: float, colour: str) -> Areas:
    """Returns a straight arrow, its point at `end`."""
    length = math.hypot(end[0] - start[0], end[1] - start[1]) or 1.0
    along = ((end[0] - start[0]) / length, (end[1] - start[1]) / length)
    across = (-along[1], along[0])
    head = min(_HEAD + thickness * 0.5, length)
    half, wide = thickness / 2, thickness / 2 + _HEAD / 2

    def at(distance: float, aside: float) -> Point:
        return (
            start[0] + along[0] * distance + across[0] * aside,
            start[1] + along[1] * distance + across[1] * aside,
        )

    neck = length - head
    outline = (
        at(0, -half),
        at(neck, -half),
        at(neck, -wide),
        end,
        at(neck, wide),
        at(neck, half),
        at(0, half),
    )
    return Areas((outline,), colour)
