"""Memory of activations while each node of a row runs."""

from __future__ import annotations

from onnxmesh.graph.costs.node_cost import CostModel
from onnxmesh.graph.reading.node_order import NodeOrder

_ARENA = (7, 5)
"""Room that ONNX Runtime's arena takes for what is asked of it, as a fraction: chunks that were split for smaller
tensors serve no larger ones. Measured on CNNs and transformers without memory patterns: 1.1 to 1.4."""


def working_bytes(order: NodeOrder, costs: CostModel) -> list[int]:
    """Returns for each node the memory of all that is alive while it runs, what it writes, and its kernel's scratch.

    What is only carried past a node counts too: the worker that runs it holds it. Where a kernel packs a weight,
    both copies are there for a moment while it is loaded; nothing runs then, so the larger of the two counts.
    Weights themselves are not in it.
    """
    num, room = _ARENA
    sizes = {value: costs.num_bytes(value) for value in order.defined_at}
    leaving = [0] * (len(order.nodes) + 1)
    alive = 0
    found: list[int] = []
    for value in order.inputs:
        alive += _enter(sizes[value], order.last_use[value], leaving)
    for position, node in enumerate(order.nodes):
        unused = 0
        for value in node.writes:
            if order.last_use[value] < 0:
                unused += sizes[value]
            else:
                alive += _enter(sizes[value], order.last_use[value], leaving)
        running = (alive + unused + costs.scratch_bytes(node)) * num // room
        found.append(max(running, costs.packed_bytes(node)))
        alive -= leaving[position]
    return found


def _enter(size: int, last_use: int, leaving: list[int]) -> int:
    """Notes that a value leaves after its last use; returns by how much more is alive now."""
    if last_use < 0:
        return 0
    leaving[min(last_use, len(leaving) - 1)] += size
    return size
