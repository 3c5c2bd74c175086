"""Working memory: activations and scratch memory while each node runs."""

from __future__ import annotations

from onnxmesh.graph.costs.node_cost import CostModel
from onnxmesh.graph.reading.node_order import NodeOrder

_ARENA_OVERHEAD = (7, 5)
"""Size of ONNX Runtime's arena over the size of the allocations in it, as a fraction: chunks that were split for smaller
tensors cannot hold larger ones. Measured on CNNs and transformers without memory patterns: 1.1 to 1.4."""


def working_bytes(order: NodeOrder, costs: CostModel) -> list[int]:
    """Returns the working memory of each node in bytes: live values, its outputs, and its kernel's scratch memory.

    Live values that a node does not read count too: the worker that runs it holds them. Where a kernel prepacks a
    weight, both copies exist while the model is loaded; nothing runs then, so the larger of the two demands counts.
    Weights are not included.
    """
    numerator, denominator = _ARENA_OVERHEAD
    sizes = {value: costs.num_bytes(value) for value in order.defined_at}
    freed_at = [0] * (len(order.nodes) + 1)
    live = 0
    found: list[int] = []
    for value in order.inputs:
        live += _add_live(sizes[value], order.last_use[value], freed_at)
    for position, node in enumerate(order.nodes):
        unused = 0
        for value in node.writes:
            if order.last_use[value] < 0:
                unused += sizes[value]
            else:
                live += _add_live(sizes[value], order.last_use[value], freed_at)
        running = (live + unused + costs.scratch_bytes(node)) * numerator // denominator
        found.append(max(running, costs.packed_bytes(node)))
        live -= freed_at[position]
    return found


def _add_live(size: int, last_use: int, freed_at: list[int]) -> int:
    """Schedules the release of a value after its last use; returns the bytes that become live."""
    if last_use < 0:
        return 0
    freed_at[min(last_use, len(freed_at) - 1)] += size
    return size
