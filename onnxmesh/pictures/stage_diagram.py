"""The upper half of a plan's picture: stages as boxes, and the bytes between them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from onnxmesh.model.plan import StagePlan
from onnxmesh.pictures.colours import BOTTLENECK, FAINT_INK, INK, LINES, PAPER, kind_colour
from onnxmesh.pictures.geometry import Point, Rect, shared_widths
from onnxmesh.pictures.labels import Label, first_fitting, largest_fitting, shortened, text_width
from onnxmesh.pictures.plan_facts import PlanFacts, devices_text
from onnxmesh.pictures.shapes import Areas, Panel, Shape, Strokes, arrow
from onnxmesh.quantities import TIMES, bytes_text, time_text

MIN_BOX_WIDTH = 86.0
"""Minimum width of a box, for its text."""

_GAP, _NARROW_GAP = 76.0, 48.0
_BOX_HEIGHT = 138.0
_PAD = 9.0
_BAND = 6.0
_LANE = 24.0
_LANE_TO_BOX = 36.0
_DROP = 15.0
_GATEWAY = 74.0
_ANSWER = 40.0
_PERIOD_SIZES = (16.0, 14.5, 13.0, 11.5)
_SLACK = 1.15
_BADGE = "slowest"


@dataclass(frozen=True, slots=True)
class StageBox:
    """The box of one stage.

    Attributes:
        rect: Its rectangle, which contains all its labels.
        colour: Colour of its first kind of device.
        shapes: Its shapes.
        labels: Its labels.
    """

    rect: Rect
    colour: str
    shapes: tuple[Shape, ...]
    labels: tuple[Label, ...]


@dataclass(frozen=True, slots=True)
class StageDiagram:
    """All stages of a plan.

    Attributes:
        boxes: A box for each stage.
        gaps: For each pair of neighbours, the point below the arrow between them.
        shapes: Shapes between and above the boxes.
        labels: Labels between and above the boxes.
        bottom: y below all of it.
    """

    boxes: tuple[StageBox, ...]
    gaps: tuple[Point, ...]
    shapes: tuple[Shape, ...]
    labels: tuple[Label, ...]
    bottom: float


def min_diagram_width(num_stages: int, preferred: float) -> float:
    """Returns the width for a number of stages: `preferred` wherever they fit."""
    narrow = num_stages * MIN_BOX_WIDTH + (num_stages - 1) * _NARROW_GAP
    # Without slack, all boxes would have the minimum width, whatever their time.
    return max(preferred, narrow * _SLACK)


def stage_diagram(facts: PlanFacts, left: float, width: float, top: float) -> StageDiagram:
    """Lays out the stages of a plan.

    The width of a box is proportional to its period, with a minimum for its text. The thickness of an arrow is
    proportional to the logarithm of its bytes.

    Args:
        facts: The data of the plan.
        left: Left edge of the first box.
        width: Distance to the right edge of the last box; at least `min_diagram_width`.
        top: Upper edge of the gateway above the boxes.
    """
    stages = facts.plan.stages
    is_wide = len(stages) * MIN_BOX_WIDTH + (len(stages) - 1) * _GAP <= width
    gap = _GAP if is_wide else _NARROW_GAP
    widths = shared_widths(
        [stage.period_s for stage in stages], width - gap * (len(stages) - 1), MIN_BOX_WIDTH
    )
    y = top + _LANE + _LANE_TO_BOX
    boxes: list[StageBox] = []
    x = left
    for index, box_width in enumerate(widths):
        boxes.append(_stage_box(facts, index, Rect(x, y, box_width, _BOX_HEIGHT)))
        x += box_width + gap
    shapes, labels = _gateway(facts, boxes, top, gap)
    gaps: list[Point] = []
    for index in range(len(stages) - 1):
        shape, more_labels = _boundary(facts, index, boxes, is_wide=is_wide)
        shapes.append(shape)
        labels += more_labels
        lowest = max(y for outline in shape.outlines for _, y in outline)
        under = max([lowest, *(label.bounds.bottom for label in more_labels)])
        gaps.append((more_labels[0].x, under + 4))
    last = boxes[-1].rect
    middle = last.centre[1]
    shapes.append(arrow((last.right + 3, middle), (last.right + 3 + _ANSWER, middle), 1.6, FAINT_INK))
    labels.append(Label("answer", last.right + 5, middle - 8, 10, colour=FAINT_INK))
    shapes_of_badge, badge = _badge(boxes[facts.plan.bottleneck].rect) if len(stages) > 1 else ([], [])
    return StageDiagram(
        tuple(boxes), tuple(gaps), (*shapes, *shapes_of_badge), (*labels, *badge), y + _BOX_HEIGHT + _LANE / 2
    )


def _stage_box(facts: PlanFacts, index: int, rect: Rect) -> StageBox:
    stage = facts.plan.stages[index]
    kinds = [kind.name for kind in facts.cluster.kinds]
    colours = [kind_colour(kinds.index(name)) for name, _ in stage.devices]
    slowest = index == facts.plan.bottleneck and len(facts.plan.stages) > 1
    shapes: list[Shape] = [
        Panel(rect, PAPER, radius=3),
        Panel(rect, colours[0], opacity=0.13, radius=3),
    ]
    x = rect.x
    for (_, count), colour in zip(stage.devices, colours, strict=True):
        part = rect.width * count / stage.num_replicas
        shapes.append(Panel(Rect(x, rect.y, part, _BAND), colour))
        x += part
    shapes.append(
        Panel(
            rect, stroke=BOTTLENECK if slowest else colours[0], stroke_width=2.6 if slowest else 1.3, radius=3
        )
    )
    inner = rect.width - 2 * _PAD
    bar = Rect(rect.x + _PAD, rect.bottom - 31, inner, 8)
    shapes += _memory_bar(facts, stage, bar, colours[0])

    def line(text: str, y: float, size: float, *, bold: bool = False, colour: str = INK) -> Label:
        return Label(text, rect.x + _PAD, rect.y + y, size, bold=bold, colour=colour)

    period = time_text(stage.period_s)
    size = largest_fitting(period, inner, _PERIOD_SIZES, bold=True)
    labels = [
        line(f"stage {index}", 22, 12.5, bold=True),
        line(_devices(stage, inner, 11), 37, 11, colour=FAINT_INK),
        line(shortened(period, inner, size, bold=True), 60, size, bold=True),
        line(first_fitting((*_period_parts(stage), ""), inner, 10.5), 75, 10.5, colour=FAINT_INK),
        line(first_fitting(_nodes_texts(stage), inner, 11), 95, 11),
        line(
            first_fitting(_memory_texts(facts, stage), inner, 10.5), _BOX_HEIGHT - 9, 10.5, colour=FAINT_INK
        ),
    ]
    return StageBox(rect, colours[0], tuple(shapes), tuple(label for label in labels if label.text))


def _devices(stage: StagePlan, width: float, size: float) -> str:
    """Returns the devices of a stage, with shortened names."""
    if len(stage.devices) > 1:
        return first_fitting((devices_text(stage), f"{stage.num_replicas} devices"), width, size)
    (name, count), times = stage.devices[0], ""
    if count > 1:
        times = f"{count} {TIMES} "
    return times + shortened(name, width - text_width(times, size), size)


def _period_parts(stage: StagePlan) -> tuple[str, ...]:
    """Returns the parts of a period, in longer and shorter forms."""
    compute, transfer = time_text(stage.compute_s), time_text(stage.transfer_s)
    if stage.num_replicas > 1:
        each = time_text(stage.compute_s + stage.transfer_s)
        return (f"{compute} to compute, {transfer} to send, on each", f"{each} on each", each)
    if stage.transfer_s > 0:
        return (f"{compute} to compute, {transfer} to send", f"{compute} + {transfer}")
    return ("all of it to compute",)


def _nodes_texts(stage: StagePlan) -> tuple[str, ...]:
    num_nodes = stage.end - stage.start
    count = "1 node" if num_nodes == 1 else f"{num_nodes} nodes"
    return (
        f"{count}, {stage.start} to {stage.end - 1}" if num_nodes > 1 else f"{count}, {stage.start}",
        count,
    )


def _memory_texts(facts: PlanFacts, stage: StagePlan) -> tuple[str, ...]:
    peak, bound = bytes_text(stage.peak_bytes), _least_memory(facts, stage)
    weights = bytes_text(stage.weight_bytes)
    if bound is None:
        return (f"{peak} of memory, {weights} of it weights", f"{peak}, weights {weights}", peak)
    return (
        f"{peak} of {bytes_text(bound)}, {weights} of it weights",
        f"{peak} of {bytes_text(bound)}",
        peak,
    )


def _least_memory(facts: PlanFacts, stage: StagePlan) -> int | None:
    bounds = [facts.cluster.kind(name).memory_bytes for name, _ in stage.devices]
    return min((bound for bound in bounds if bound is not None), default=None)


def _memory_bar(facts: PlanFacts, stage: StagePlan, bar: Rect, colour: str) -> list[Shape]:
    """Draws weights and activations relative to the memory of a device, or to the largest stage where it is unlimited."""
    whole = _least_memory(facts, stage) or max(each.peak_bytes for each in facts.plan.stages) or 1
    peak = bar.width * min(1.0, stage.peak_bytes / whole)
    weights = bar.width * min(1.0, stage.weight_bytes / whole)
    return [
        Panel(bar, PAPER, radius=2),
        Panel(Rect(bar.x, bar.y, peak, bar.height), colour, opacity=0.4, radius=min(2, peak / 2)),
        Panel(Rect(bar.x, bar.y, weights, bar.height), colour, radius=min(2, weights / 2)),
        Panel(bar, stroke=LINES, radius=2),
    ]


def _boundary(
    facts: PlanFacts, index: int, boxes: list[StageBox], *, is_wide: bool
) -> tuple[Areas, list[Label]]:
    """Returns the arrow from a stage to the next, with the bytes of the boundary."""
    num_bytes = facts.plan.stages[index].boundary_bytes
    before, after = boxes[index].rect, boxes[index + 1].rect
    middle = (before.right + after.x) / 2
    y = before.centre[1]
    thickness = _thickness(num_bytes)
    shape = arrow((before.right + 4, y), (after.x - 4, y), thickness, FAINT_INK)
    above, below = y - thickness / 2 - 8, y + thickness / 2 + 17
    number, _, unit = bytes_text(num_bytes).partition(" ")
    if is_wide:
        return shape, [Label(f"{number} {unit}", middle, above, 11, "middle")]
    return shape, [Label(number, middle, above, 11, "middle"), Label(unit, middle, below, 11, "middle")]


def _thickness(num_bytes: int) -> float:
    """Returns the thickness of an arrow: from 1.5 pixels at 1 kB to 14 at 1 GB."""
    decades = math.log10(max(num_bytes, 1)) - 3
    return min(14.0, max(1.5, 1.5 + decades * 12.5 / 6))


def _gateway(
    facts: PlanFacts, boxes: list[StageBox], top: float, gap: float
) -> tuple[list[Shape], list[Label]]:
    """Returns the gateway, its arrow to stage 0, and its arrows of direct inputs to later stages."""
    first = boxes[0].rect
    pill = Rect(first.x, top, _GATEWAY, _LANE)
    x, bus = first.x + _DROP, pill.centre[1]
    shapes: list[Shape] = [
        Panel(pill, "#eef0f2", LINES, radius=_LANE / 2),
        arrow((x, pill.bottom + 2), (x, first.y - 3), _thickness(facts.input_bytes), FAINT_INK),
    ]
    width = first.width + gap - _DROP - 14
    text = first_fitting(
        (f"inputs, {bytes_text(facts.input_bytes)}", bytes_text(facts.input_bytes)), width, 11
    )
    labels = [
        Label("gateway", *_centred(pill.centre, 11), 11, "middle"),
        Label(text, x + 12, first.y - 14, 11),
    ]
    fed = [index for index, stage in enumerate(facts.plan.stages) if index and stage.direct_inputs]
    if fed:
        end = boxes[fed[-1]].rect.x + _DROP
        shapes.append(Strokes((((pill.right, bus), (end, bus)),), FAINT_INK, 1.5))
    for index in fed:
        box, names = boxes[index].rect, facts.plan.stages[index].direct_inputs
        size = bytes_text(sum(map(facts.bytes_of_input, names)))
        reach = box.x + _DROP
        shapes.append(arrow((reach, bus), (reach, box.y - 3), 1.5, FAINT_INK))
        width = box.width + gap - 10
        full = f"{', '.join(names)}, {size}"
        shorter = full if len(names) == 1 else f"{len(names)} inputs, {size}"
        labels.append(Label(first_fitting((full, shorter, ", ".join(names)), width, 11), box.x, bus - 7, 11))
    return shapes, labels


def _badge(box: Rect) -> tuple[list[Shape], list[Label]]:
    """Returns the badge of the slowest stage, at the lower edge of its box."""
    width = text_width(_BADGE, 10, bold=True) + 12
    rect = Rect(box.centre[0] - width / 2, box.bottom - 2, width, 16)
    label = Label(_BADGE, *_centred(rect.centre, 10), 10, "middle", bold=True, colour="#ffffff")
    return [Panel(rect, BOTTLENECK, radius=8)], [label]


def _centred(centre: tuple[float, float], size: float) -> tuple[float, float]:
    """Returns the base line position of text that is centred at `centre`."""
    return centre[0], centre[1] + size * 0.35
