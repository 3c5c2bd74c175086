"""Times of the nodes that ran, told as times of the nodes that are cut."""

from __future__ import annotations

from collections.abc import Sequence

from onnxmesh.graph.measuring.profiler import MeasuredRun
from onnxmesh.graph.reading.node_order import NodeOrder, value_name

_LAYOUT = "_nchwc"
"""What ONNX Runtime appends to the name of a value to name the node that computes it in another memory layout."""


def attribute_times(run: MeasuredRun, order: NodeOrder, expected_s: Sequence[float]) -> tuple[float, ...]:
    """Returns a time for each node of the row; they add up to the run's.

    Where the graph that ran is the row's own, each node gets what it took. Where ONNX Runtime fused nodes, the values
    that are still computed tell which: a fused node stands for what leads to its output from the outputs of others,
    and its time is shared among those nodes as estimates have it. What ran without leaving a known value (a
    conversion of layouts) goes to the next node that leaves one.

    Args:
        run: What was measured.
        order: The nodes that are cut.
        expected_s: Estimated time of each of them.
    """
    producer = {
        value_name(value): position for position, node in enumerate(order.nodes) for value in node.writes
    }
    anchors = [
        max((producer[name] for name in names if name in producer), default=-1)
        for names in ((*node.outputs, node.name.removesuffix(_LAYOUT)) for node in run.nodes)
    ]
    anchored = set(anchors)
    found = [0.0] * len(order.nodes)
    covered: set[int] = set()
    waiting = 0.0
    last: list[int] = list(range(len(order.nodes)))
    for node, anchor in zip(run.nodes, anchors, strict=True):
        waiting += node.seconds
        if anchor >= 0:
            last = _behind(order, anchor, producer, anchored, covered)
            covered.update(last)
            _share(waiting, last, expected_s, found)
            waiting = 0.0
    _share(waiting if run.nodes else run.total_s, last, expected_s, found)
    return tuple(found)


def _behind(
    order: NodeOrder, anchor: int, producer: dict[str, int], anchored: set[int], covered: set[int]
) -> list[int]:
    """Returns the anchor and the nodes that lead to it from other anchors, but for those told already."""
    group = [anchor]
    seen = {anchor}
    for position in group:
        for value in order.nodes[position].reads:
            before = producer.get(value_name(value), -1)
            if before >= 0 and before not in seen and before not in anchored and before not in covered:
                seen.add(before)
                group.append(before)
    return group


def _share(seconds: float, positions: list[int], expected_s: Sequence[float], found: list[float]) -> None:
    if not positions:
        return
    whole = sum(expected_s[position] for position in positions)
    for position in positions:
        found[position] += seconds * (expected_s[position] / whole if whole else 1 / len(positions))
