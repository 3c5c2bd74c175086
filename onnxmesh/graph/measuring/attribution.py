"""Attribution of measured times to the nodes of the graph that is cut, across fusion."""

from __future__ import annotations

from collections.abc import Sequence

from onnxmesh.graph.measuring.profiler import MeasuredRun
from onnxmesh.graph.reading.node_order import NodeOrder, value_name

_LAYOUT_SUFFIX = "_nchwc"
"""Suffix of the name of a node that computes a value in another memory layout; the value's name precedes it."""


def attribute_times(run: MeasuredRun, order: NodeOrder, expected_s: Sequence[float]) -> tuple[float, ...]:
    """Returns a time for each node of the order, in seconds; their sum is the time of the run.

    A node that ran unchanged has its measured time. Where ONNX Runtime fused nodes, the remaining values identify them:
    a fused node stands for the nodes between the outputs of other executed nodes and its own output, and its time is
    divided among them in proportion to their estimates. The time of a node without a known output (a conversion of
    layouts) is added to the next one with a known output.

    Args:
        run: The measured run.
        order: The nodes of the graph that is cut.
        expected_s: Estimated time of each of them, in seconds.
    """
    producer = {
        value_name(value): position for position, node in enumerate(order.nodes) for value in node.writes
    }
    anchors = [
        max((producer[name] for name in names if name in producer), default=-1)
        for names in ((*node.outputs, node.name.removesuffix(_LAYOUT_SUFFIX)) for node in run.nodes)
    ]
    anchored = set(anchors)
    found = [0.0] * len(order.nodes)
    covered: set[int] = set()
    pending_s = 0.0
    last: list[int] = list(range(len(order.nodes)))
    for node, anchor in zip(run.nodes, anchors, strict=True):
        pending_s += node.seconds
        if anchor >= 0:
            last = _fused_nodes(order, anchor, producer, anchored, covered)
            covered.update(last)
            _share(pending_s, last, expected_s, found)
            pending_s = 0.0
    _share(pending_s if run.nodes else run.total_s, last, expected_s, found)
    return tuple(found)


def _fused_nodes(
    order: NodeOrder, anchor: int, producer: dict[str, int], anchored: set[int], covered: set[int]
) -> list[int]:
    """Returns the anchor and the uncovered nodes between other anchors and it."""
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
