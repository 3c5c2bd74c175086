"""The lower half of a plan's picture: the nodes over time, and the live bytes between them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from onnxmesh.pictures.colours import CUT, FAINT_INK, LINES, LIVE, OPERATORS, OTHER_OPERATORS
from onnxmesh.pictures.geometry import Point, Rect
from onnxmesh.pictures.labels import Label, printable
from onnxmesh.pictures.plan_facts import PlanFacts
from onnxmesh.pictures.shapes import Areas, Dot, Panel, Shape, Strokes
from onnxmesh.quantities import bytes_text, time_text

OTHERS = "others"

_AREA_HEIGHT = 116.0
_TICKS = 9.0
_STRIP_HEIGHT = 30.0
_MAX_SLIVERS, _MAX_BUCKETS, _MAX_TICKS = 1200, 400, 500
_MAX_LINES = 6
_MIN_SHARE = 0.01


@dataclass(frozen=True, slots=True)
class NodeStrip:
    """The strip, the area above it and its axes.

    Attributes:
        area: Rectangle of the live bytes.
        strip: Rectangle of the nodes.
        cuts: x of each of the plan's cuts.
        shapes: Its shapes.
        labels: Labels of its axes.
        legend: (operator, colour, share of the time), the largest first.
        bottom: y below all of it.
    """

    area: Rect
    strip: Rect
    cuts: tuple[float, ...]
    shapes: tuple[Shape, ...]
    labels: tuple[Label, ...]
    legend: tuple[tuple[str, str, float], ...]
    bottom: float


def node_strip(facts: PlanFacts, left: float, width: float, top: float) -> NodeStrip:
    """Lays out the nodes over time.

    Args:
        facts: The data of the plan.
        left: Left edge of the strip; labels of the axis precede it.
        width: Width of the strip.
        top: Upper edge of the area.
    """
    area = Rect(left, top, width, _AREA_HEIGHT)
    strip = Rect(left, area.bottom + _TICKS, width, _STRIP_HEIGHT)
    seconds: Sequence[float] = facts.node_s
    if sum(seconds) <= 0:
        seconds = [1.0] * len(seconds)
    sums = list(accumulate(seconds, initial=0.0))
    scale = width / (sums[-1] or 1.0)
    edges = [left + scale * time for time in sums]
    legend, shapes = _operators(facts, seconds, edges, strip)
    live_shapes, labels = _live(facts, edges, area)
    legal = [edges[position] for position in facts.costs.legal_cuts]
    shapes += live_shapes
    shapes.append(_ticks(legal, area.bottom + 2, strip.y - 2, width))
    axis_shapes, axis_labels = _time_axis(sum(facts.node_s), strip)
    cuts = tuple(edges[position] for position in facts.plan.cuts)
    return NodeStrip(
        area, strip, cuts, (*shapes, *axis_shapes), (*labels, *axis_labels), tuple(legend), strip.bottom + 22
    )


def cut_marks(facts: PlanFacts, strip: NodeStrip, ends: Sequence[Point], bend: float) -> list[Shape]:
    """Returns the lines of the cuts, from below the strip up to `ends`, with a dot at the live bytes of each.

    Args:
        facts: The data of the plan.
        strip: The nodes.
        ends: Upper end of each line.
        bend: y above which lines are vertical.
    """
    lines = tuple(
        ((x, strip.strip.bottom + 4), (x, strip.area.y), (end[0], bend), end)
        for x, end in zip(strip.cuts, ends, strict=True)
    )
    shapes: list[Shape] = [Strokes(lines, CUT, 1.8)] if lines else []
    low, high = _decades(facts)
    for position, x in zip(facts.plan.cuts, strip.cuts, strict=True):
        shapes.append(Dot((x, _height(facts.live_bytes(position), low, high, strip.area)), 3.6, CUT))
    return shapes


def merged_runs(kinds: Sequence[int], edges: Sequence[float], least: float) -> list[tuple[float, float, int]]:
    """Merges nodes into runs of one kind: (start, end, kind) of each.

    Runs narrower than `least` are merged with the following ones until they are wide enough, with the kind of the
    largest total width.

    Args:
        kinds: Kind of each node.
        edges: Edges of the nodes, ascending; one more than nodes.
        least: Smallest visible width.
    """
    runs: list[tuple[float, float, int]] = []
    widths: Counter[int] = Counter()
    start = edges[0]
    for index, kind in enumerate(kinds):
        widths[kind] += edges[index + 1] - edges[index]  # type: ignore[assignment]
        if index + 1 < len(kinds) and (
            edges[index + 1] - start < least or kinds[index + 1] == kind == _only(widths)
        ):
            continue
        most = max(widths, key=lambda each: (widths[each], -each))
        if runs and runs[-1][2] == most:
            runs[-1] = (runs[-1][0], edges[index + 1], most)
        else:
            runs.append((start, edges[index + 1], most))
        start = edges[index + 1]
        widths.clear()
    return runs


def thinned(points: Sequence[Point], width: float) -> list[Point]:
    """Returns a polyline with at most four points in every interval of `width`: first, lowest, highest and last.

    The points have ascending x; extremes are kept.
    """
    kept: list[Point] = []
    bucket: list[Point] = []
    for point in points:
        if bucket and point[0] - bucket[0][0] >= width:
            kept += _extremes(bucket)
            bucket = []
        bucket.append(point)
    return kept + _extremes(bucket)


def _extremes(bucket: list[Point]) -> list[Point]:
    if len(bucket) <= 4:
        return bucket
    heights = [y for _, y in bucket]
    chosen = {0, len(bucket) - 1, heights.index(min(heights)), heights.index(max(heights))}
    return [bucket[index] for index in sorted(chosen)]


def _only(widths: Counter[int]) -> int | None:
    return next(iter(widths)) if len(widths) == 1 else None


def _operators(
    facts: PlanFacts, seconds: Sequence[float], edges: Sequence[float], strip: Rect
) -> tuple[list[tuple[str, str, float]], list[Shape]]:
    totals: dict[str, float] = {}
    for node, time in zip(facts.costs.nodes, seconds, strict=True):
        totals[node.op_type] = totals.get(node.op_type, 0.0) + time
    ranked = sorted(totals, key=lambda name: (-totals[name], name))
    total = sum(seconds) or 1.0
    named = [name for name in ranked[: len(OPERATORS)] if totals[name] >= _MIN_SHARE * total]
    colours = [*OPERATORS[: len(named)], OTHER_OPERATORS]
    places = {name: index for index, name in enumerate(named)}
    kinds = [places.get(node.op_type, len(named)) for node in facts.costs.nodes]
    legend = [(printable(name), colours[index], totals[name] / total) for index, name in enumerate(named)]
    rest = sum(totals[name] for name in ranked[len(named) :])
    if rest > 0:
        legend.append((OTHERS, OTHER_OPERATORS, rest / total))
    runs = merged_runs(kinds, edges, strip.width / _MAX_SLIVERS) if kinds else []
    shapes: list[Shape] = []
    for index, colour in enumerate(colours):
        boxes = tuple(_corners(start, end, strip) for start, end, kind in runs if kind == index)
        if boxes:
            shapes.append(Areas(boxes, colour))
    shapes.append(Panel(strip, stroke=LINES))
    return legend, shapes


def _corners(start: float, end: float, strip: Rect) -> tuple[Point, ...]:
    return (start, strip.y), (end, strip.y), (end, strip.bottom), (start, strip.bottom)


def _live(facts: PlanFacts, edges: Sequence[float], area: Rect) -> tuple[list[Shape], list[Label]]:
    """Returns the area of the live bytes at each position, and grid lines at powers of ten."""
    low, high = _decades(facts)
    positions = range(1, len(facts.costs.nodes))
    inner = [(edges[p], _height(facts.live_bytes(p), low, high, area)) for p in positions]
    shapes: list[Shape] = []
    if inner:
        start = (area.x, _height(facts.input_bytes, low, high, area))
        line = thinned([start, *inner, (area.right, inner[-1][1])], area.width / _MAX_BUCKETS)
        outline = ((area.x, area.bottom), *line, (area.right, area.bottom))
        shapes = [Areas((outline,), LIVE, 0.28), Strokes((tuple(line),), LIVE, 1.2)]
    step = max(1, math.ceil((high - low) / _MAX_LINES))
    levels = [10**power for power in range(low, high + 1, step)]
    heights = [_height(level, low, high, area) for level in levels]
    grid = Strokes(tuple(((area.x, y), (area.right, y)) for y in heights), LINES, 0.7)
    labels = [
        Label(_round_size(level), area.x - 7, y + 3.5, 10, "end", colour=FAINT_INK)
        for level, y in zip(levels, heights, strict=True)
    ]
    return [grid, *shapes], labels


def _decades(facts: PlanFacts) -> tuple[int, int]:
    """Returns the powers of ten around all live bytes; smaller values are drawn at the lower one."""
    sizes = [facts.live_bytes(p) for p in range(1, len(facts.costs.nodes))]
    sizes = [size for size in (*sizes, facts.input_bytes) if size > 0] or [1]
    low = math.floor(math.log10(min(sizes)))
    high = math.ceil(math.log10(max(sizes)))
    return low, max(high, low + 1)


def _height(num_bytes: int, low: int, high: int, area: Rect) -> float:
    level = math.log10(num_bytes) if num_bytes > 0 else low
    share = (min(high, max(low, level)) - low) / (high - low)
    # A margin below, so that the smallest value is visible.
    return area.bottom - 4 - share * (area.height - 10)


def _round_size(level: int) -> str:
    number, _, unit = bytes_text(level).partition(" ")
    return f"{float(number):g} {unit}"


def _ticks(positions: Sequence[float], top: float, bottom: float, width: float) -> Strokes:
    """Returns ticks at legal cuts, as many as can be distinguished."""
    lines: list[tuple[Point, ...]] = []
    last = -math.inf
    for x in positions:
        if x - last >= width / _MAX_TICKS:
            lines.append(((x, top), (x, bottom)))
            last = x
    return Strokes(tuple(lines), FAINT_INK, 0.7, 0.7)


def _time_axis(total_s: float, strip: Rect) -> tuple[list[Shape], list[Label]]:
    if total_s <= 0:
        return [], []
    # Steps of 1, 2 or 5 of which about eight fit.
    power = 10.0 ** math.floor(math.log10(total_s / 8))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= total_s / 8)
    count = math.floor(total_s / step + 1e-9)
    xs = [strip.x + strip.width * step * index / total_s for index in range(count + 1)]
    marks = Strokes(tuple(((x, strip.bottom), (x, strip.bottom + 4)) for x in xs), LINES)
    labels: list[Label] = []
    for index, x in enumerate(xs):
        label = Label(_round_time(step * index), x, strip.bottom + 16, 10, "middle", colour=FAINT_INK)
        if not labels or label.bounds.x > labels[-1].bounds.right + 6:
            labels.append(label)
    return [marks], labels


def _round_time(seconds: float) -> str:
    number, _, unit = time_text(seconds).partition(" ")
    return f"{float(number):g} {unit}"
