"""Layout of a plan's picture: stages above, nodes over time below."""

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
    """A laid out picture.

    Attributes:
        width: Width in pixels.
        height: Height in pixels.
        title: Text alternative of the picture.
        stages: The stages.
        strip: The nodes.
        shapes: All shapes, from back to front.
        labels: All labels.
    """

    width: float
    height: float
    title: str
    stages: StageDiagram
    strip: NodeStrip
    shapes: tuple[Shape, ...]
    labels: tuple[Label, ...]


def plan_picture(facts: PlanFacts) -> PlanPicture:
    """Lays out a picture of a plan. Deterministic.

    Args:
        facts: The data of the plan.
    """
    inner = min_diagram_width(len(facts.plan.stages), _WIDTH - _LEFT - _RIGHT)
    width = inner + _LEFT + _RIGHT
    shapes: list[Shape] = []
    labels, y = _heading(facts, inner)
    kind_shapes, kind_labels, y = _legend(_kinds(facts), y + 22, inner, 11.5)
    stages = stage_diagram(facts, _LEFT, inner, y + 18)
    strip = node_strip(facts, _LEFT, inner, stages.bottom + _FUNNEL)
    shapes += _funnels(facts, stages, strip)
    operators = [(f"{name} {_percent(share)}", colour) for name, colour, share in strip.legend]
    legend_shapes, legend_labels, y = _legend(operators, strip.bottom + 20, inner, 11)
    notes = _NOTES if any(kind.memory_bytes for kind in facts.cluster.kinds) else _NOTES_UNBOUNDED
    lines = wrapped(notes, inner, 10)
    notes_labels = [
        Label(line, _LEFT, y + 24 + 14 * index, 10, colour=FAINT_INK) for index, line in enumerate(lines)
    ]
    shapes += [
        *kind_shapes,
        *strip.shapes,
        *cut_marks(facts, strip, stages.gaps, stages.boxes[0].rect.bottom),
    ]
    for box in stages.boxes:
        shapes += box.shapes
    shapes += [*stages.shapes, *legend_shapes]
    in_boxes = [label for box in stages.boxes for label in box.labels]
    everything = [
        *labels,
        *kind_labels,
        *in_boxes,
        *stages.labels,
        *strip.labels,
        *legend_labels,
        *notes_labels,
    ]
    height = y + 24 + 14 * len(lines) + 8
    return PlanPicture(
        width=width,
        height=height,
        title=f"Plan of {facts.model}: {_stages(facts)}",
        stages=stages,
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
        rate = _unbroken(rate_text(1 / plan.period_s, "answers"))
        promise = (
            f"{rate}, {_unbroken(speed_text(whole.compute_s / plan.period_s))} the whole model on {single}"
        )
    sentences = (
        f"Planned for {plan.objective.value}: {promise}. One request alone takes "
        f"{_unbroken(time_text(plan.latency_s))}, whole {_unbroken(time_text(whole.compute_s))}. "
        f"Times are {facts.times_from}."
    )
    lines = wrapped(sentences, width, 12.5)
    labels = [Label(line, _LEFT, 64 + 18 * index, 12.5) for index, line in enumerate(lines)]
    return [title, *labels], 64 + 18 * (len(lines) - 1)


def _unbroken(quantity: str) -> str:
    """Joins a number and its unit with a no-break space."""
    return quantity.replace(" ", "\u00a0")


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.01 else "< 1%"


def _stages(facts: PlanFacts) -> str:
    stages = facts.plan.stages
    num_devices = sum(stage.num_replicas for stage in stages)
    devices = "1 device" if num_devices == 1 else f"{num_devices} devices"
    return f"{'1 stage' if len(stages) == 1 else f'{len(stages)} stages'} on {devices}"


def _kinds(facts: PlanFacts) -> list[tuple[str, str]]:
    """Returns the kinds that hold stages, with the number of their used devices, and their colours."""
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
    """Lays out colours with their names in as many lines as needed; returns the last base line too."""
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


def _funnels(facts: PlanFacts, stages: StageDiagram, strip: NodeStrip) -> list[Shape]:
    """Returns the areas that connect each stage box with its nodes."""
    edges = [strip.area.x, *strip.cuts, strip.area.right]
    shapes: list[Shape] = []
    for box, left, right in zip(stages.boxes, edges, edges[1:], strict=False):
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
