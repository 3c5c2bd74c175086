"""Shapes of a picture."""

from __future__ import annotations

import math
from dataclasses import dataclass

from onnxmesh.pictures.geometry import Point, Rect


@dataclass(frozen=True, slots=True)
class Panel:
    """A rectangle with round corners.

    Attributes:
        rect: Its rectangle.
        fill: Fill colour; `none`: transparent.
        stroke: Edge colour; `none`: no edge.
        stroke_width: Width of the edge.
        radius: Radius of the corners.
        opacity: Opacity of the fill.
    """

    rect: Rect
    fill: str = "none"
    stroke: str = "none"
    stroke_width: float = 1.0
    radius: float = 0.0
    opacity: float = 1.0


@dataclass(frozen=True, slots=True)
class Strokes:
    """Polylines of one style.

    Attributes:
        lines: Points of each polyline.
        stroke: Colour.
        width: Line width.
        opacity: Opacity of the colour.
    """

    lines: tuple[tuple[Point, ...], ...]
    stroke: str
    width: float = 1.0
    opacity: float = 1.0


@dataclass(frozen=True, slots=True)
class Areas:
    """Filled polygons of one style.

    Attributes:
        outlines: Corners of each polygon.
        fill: Fill colour.
        opacity: Opacity of the colour.
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
    """Returns a straight arrow with its tip at `end`."""
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
