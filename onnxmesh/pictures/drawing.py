"""Rendering of a picture as SVG."""

from __future__ import annotations

from typing import assert_never

import drawsvg

from onnxmesh.pictures.colours import LINES, PAPER
from onnxmesh.pictures.geometry import Point
from onnxmesh.pictures.labels import FONTS, Label, printable
from onnxmesh.pictures.plan_picture import PlanPicture
from onnxmesh.pictures.shapes import Areas, Dot, Panel, Shape, Strokes


def svg_of(picture: PlanPicture) -> str:
    """Returns a picture as an SVG document with a background. Deterministic."""
    drawing = drawsvg.Drawing(_round(picture.width), _round(picture.height), font_family=FONTS)
    drawing.append_title(printable(picture.title))
    drawing.append(
        drawsvg.Rectangle(
            0.5, 0.5, _round(picture.width - 1), _round(picture.height - 1), fill=PAPER, stroke=LINES, rx=8
        )
    )
    for shape in picture.shapes:
        drawing.append(_drawn(shape))
    for label in picture.labels:
        drawing.append(_written(label))
    text: str = drawing.as_svg()
    return text + "\n"


def _drawn(shape: Shape) -> drawsvg.DrawingElement:
    if isinstance(shape, Panel):
        rect = shape.rect
        optional = (
            {} if shape.stroke == "none" else {"stroke": shape.stroke, "stroke_width": shape.stroke_width}
        )
        if shape.radius:
            optional["rx"] = _round(shape.radius)
        if shape.opacity < 1:
            optional["fill_opacity"] = shape.opacity
        sides = (_round(rect.x), _round(rect.y), _round(rect.width), _round(rect.height))
        return drawsvg.Rectangle(*sides, fill=shape.fill, **optional)
    if isinstance(shape, Strokes):
        return drawsvg.Path(
            "".join(_path(line) for line in shape.lines),
            fill="none",
            stroke=shape.stroke,
            stroke_width=shape.width,
            stroke_opacity=shape.opacity,
            stroke_linejoin="round",
        )
    if isinstance(shape, Areas):
        path = "".join(f"{_path(outline)}Z" for outline in shape.outlines)
        return drawsvg.Path(path, fill=shape.fill, fill_opacity=shape.opacity)
    if isinstance(shape, Dot):
        x, y = shape.centre
        return drawsvg.Circle(
            _round(x), _round(y), shape.radius, fill=shape.fill, stroke=PAPER, stroke_width=1.2
        )
    assert_never(shape)


def _written(label: Label) -> drawsvg.DrawingElement:
    optional = {} if label.anchor == "start" else {"text_anchor": label.anchor}
    if label.bold:
        optional["font_weight"] = "bold"
    return drawsvg.Text(
        printable(label.text), label.size, _round(label.x), _round(label.y), fill=label.colour, **optional
    )


def _path(points: tuple[Point, ...]) -> str:
    """Returns the path of a polyline, with short commands for horizontal and vertical segments."""
    commands: list[str] = []
    before: tuple[float, float] | None = None
    for x, y in ((_round(x), _round(y)) for x, y in points):
        if before is None:
            commands.append(f"M{x} {y}")
        elif (x, y) == before:
            continue
        elif y == before[1]:
            commands.append(f"H{x}")
        elif x == before[0]:
            commands.append(f"V{y}")
        else:
            commands.append(f"L{x} {y}")
        before = (x, y)
    return "".join(commands)


def _round(number: float) -> float:
    """Rounds to a tenth of a pixel; integers have no decimal point."""
    rounded = round(number, 1)
    return int(rounded) if rounded == int(rounded) else rounded
