"""A plan as a picture: where the graph was cut, and why there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from onnxmesh.model.cluster import DeviceKind
from onnxmesh.pictures.colours import FAINT_INK, kind_colour
from onnxmesh.pictures.geometry import Rect
from onnxmesh.pictures.labels import Label, shortened, text_width, wrapped
from onnxmesh.pictures.node_strip import NodeStrip, cut_marks, node_strip
from onnxmesh.pictures.plan_facts import PlanFacts
from onnxmesh.pictures.shapes import Areas, Panel, Shape
from onnxmesh.pictures.stage_diagram import StageDiagram, min_diagram_width, stage_diagram
from onnxmesh.quantities import bytes_text, rate_text, speed_text, time_text

_WIDTH = 1000.0
_LEFT, _RIGHT = 64.0, 60.0
_FUNNEL = 50.0
_NOTES = (
    "Boxes: stages, as wide as the time from one answer to the next (the period). "
    "Arrows: bytes, thicker by their logarithm. Bars: weights (dark) and activations in the device's memory. "
    "Grey area: bytes that a cut at that place would send, on a logarithmic scale. "
    "Strip: the nodes in the order in which they run, as wide as their time. "
    "Small ticks: where the graph can be cut. Black lines: where this plan cuts it."
)
_NOTES_UNBOUNDED = _NOTES.replace("in the device's memory", "relative to the largest stage")


@dataclass(frozen=True, slots=True)
class PlanPicture:
    """Everything in a picture, with its place.

    Attributes:
        width: Of the whole.
        height: Of the whole.
        title: For those who do not see it.
        row: Its stages.
        strip: Its nodes.
        shapes: All shapes, from back to front.
        labels: All text.
    """

    width: float
    height: float
    title: str
    row: StageDiagram
    strip: NodeStrip
    shapes: tuple[Shape, ...]
    labels: tuple[Label, ...]


def plan_picture(facts: PlanFacts) -> PlanPicture:
    """Lays out a picture of a plan; equal plans give equal pictures.

    Args:
        facts: The plan, and what it was made from.
    """
    inner = min_diagram_width(len(facts.plan.stages), _WIDTH - _LEFT - _RIGHT)
    width = inner + _LEFT + _RIGHT
    shapes: list[Shape] = []
    labels, y = _heading(facts, inner)
    kind_shapes, kind_labels, y = _legend(_kinds(facts), y + 22, inner, 11.5)
    row = stage_diagram(facts, _LEFT, inner, y + 18)
    strip = node_strip(facts, _LEFT, inner, row.bottom + _FUNNEL)
    shapes += _funnels(facts, row, strip)
    operators = [(f"{name} {_percent(share)}", colour) for name, colour, share in strip.legend]
    legend_shapes, legend_labels, y = _legend(operators, strip.bottom + 20, inner, 11)
    notes = _NOTES if any(kind.memory_bytes for kind in facts.cluster.kinds) else _NOTES_UNBOUNDED
    lines = wrapped(notes, inner, 10)
    notes_labels = [
        Label(line, _LEFT, y + 24 + 14 * index, 10, colour=FAINT_INK) for index, line in enumerate(lines)
    ]
    shapes += [*kind_shapes, *strip.shapes, *cut_marks(facts, strip, row.gaps, row.boxes[0].rect.bottom)]
    for box in row.boxes:
        shapes += box.shapes
    shapes += [*row.shapes, *legend_shapes]
    in_boxes = [label for box in row.boxes for label in box.labels]
    everything = [*labels, *kind_labels, *in_boxes, *row.labels, *strip.labels, *legend_labels, *notes_labels]
    height = y + 24 + 14 * len(lines) + 8
    return PlanPicture(
        width=width,
        height=height,
        title=f"Plan of {facts.model}: {_stages(facts)}",
        row=row,
        strip=strip,
        shapes=tuple(shapes),
        labels=tuple(everything),
    )


def _heading(facts: PlanFacts, width: float) -> tuple[list[Label], float]:
    plan, whole = facts.plan, facts.plan.whole
    title = Label(
        shortened(f"{facts.model}: {_stages(facts)}", width, 19, bold=True), _LEFT, 42, 19, bold=True
    )
    single = f"one '{whole.kind}'" + ("" if whole.fits else " (which lacks the memory for it)")
    promise = "answers at once"
    if plan.period_s > 0:
        rate = _whole(rate_text(1 / plan.period_s, "answers"))
        promise = f"{rate}, {_whole(speed_text(whole.compute_s / plan.period_s))} the whole model on {single}"
    sentences = (
        f"Planned for {plan.objective.value}: {promise}. One request alone takes "
        f"{_whole(time_text(plan.latency_s))}, whole {_whole(time_text(whole.compute_s))}. "
        f"Times are {facts.times_from}."
    )
    lines = wrapped(sentences, width, 12.5)
    labels = [Label(line, _LEFT, 64 + 18 * index, 12.5) for index, line in enumerate(lines)]
    return [title, *labels], 64 + 18 * (len(lines) - 1)


def _whole(figure: str) -> str:
    """A figure and its unit, which no line break parts."""
    return figure.replace(" ", "\u00a0")


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.01 else "< 1%"


def _stages(facts: PlanFacts) -> str:
    stages = facts.plan.stages
    num_devices = sum(stage.num_replicas for stage in stages)
    devices = "1 device" if num_devices == 1 else f"{num_devices} devices"
    return f"{'1 stage' if len(stages) == 1 else f'{len(stages)} stages'} on {devices}"


def _kinds(facts: PlanFacts) -> list[tuple[str, str]]:
    """The kinds that hold stages, with how many of each do."""
    used: dict[str, int] = {}
    for stage in facts.plan.stages:
        for name, count in stage.devices:
            used[name] = used.get(name, 0) + count
    return [
        (f"{kind.name}: {used[kind.name]} of {kind.count} used{_memory(kind)}", kind_colour(position))
        for position, kind in enumerate(facts.cluster.kinds)
        if kind.name in used
    ]


def _memory(kind: DeviceKind) -> str:
    return "" if kind.memory_bytes is None else f", {bytes_text(kind.memory_bytes)} each"


def _legend(
    entries: Sequence[tuple[str, str]], y: float, width: float, size: float
) -> tuple[list[Shape], list[Label], float]:
    """Colours with their names in as many lines as it takes; the last base line too."""
    shapes: list[Shape] = []
    labels: list[Label] = []
    x = _LEFT
    for name, colour in entries:
        text = shortened(name, width - 16, size)
        entry = 16 + text_width(text, size)
        if x > _LEFT and x + entry > _LEFT + width:
            x, y = _LEFT, y + 18
        shapes.append(Panel(Rect(x, y - 9.5, 11, 11), colour, radius=2))
        labels.append(Label(text, x + 16, y, size))
        x += entry + 18
    return shapes, labels, y


def _funnels(facts: PlanFacts, row: StageDiagram, strip: NodeStrip) -> list[Shape]:
    """What joins each box to its part of the row of nodes."""
    edges = [strip.area.x, *strip.cuts, strip.area.right]
    shapes: list[Shape] = []
    for box, left, right in zip(row.boxes, edges, edges[1:], strict=False):
        corners = (
            (box.rect.x, box.rect.bottom),
            (box.rect.right, box.rect.bottom),
            (right, strip.area.y),
            (right, strip.area.bottom),
            (left, strip.area.bottom),
            (left, strip.area.y),
        )
        shapes.append(Areas((corners,), box.colour, 0.13))
    return shapes
