"""Graphs and devices whose plans can be computed by hand: a node of `n` flops takes `n` seconds."""

from __future__ import annotations

from onnxmesh.model.cluster import Cluster, DeviceKind
from onnxmesh.model.device_speed import DeviceSpeed
from onnxmesh.model.graph_costs import Boundary, GraphCosts, InputUse, NodeCost
from onnxmesh.model.link import LinkSpec
from onnxmesh.model.signature import Signature


def graph(
    flops: list[int],
    boundary_bytes: list[int] | None = None,
    illegal: frozenset[int] | set[int] = frozenset(),
    weights: list[tuple[int, ...]] | None = None,
    weight_bytes: tuple[int, ...] = (),
    working: list[int] | None = None,
    inputs: tuple[InputUse, ...] = (),
    without_rows: frozenset[int] | set[int] = frozenset(),
) -> GraphCosts:
    """Returns nodes in topological order; boundaries have one byte, are legal and keep rows apart by default."""
    count = len(flops)
    sizes = boundary_bytes or [1] * (count - 1)
    uses = weights or [()] * count
    scratch = working or [0] * count
    return GraphCosts(
        nodes=tuple(NodeCost(f"n{i}", "Op", flops[i], 0, tuple(uses[i]), scratch[i]) for i in range(count)),
        boundaries=tuple(
            Boundary(size, 1, "a sequence" if p in illegal else None, p not in without_rows)
            for p, size in enumerate(sizes, start=1)
        ),
        weights=tuple(weight_bytes),
        inputs=inputs,
        signature=Signature((), ()),
    )


def kind(name: str = "box", count: int = 1, speed: float = 1.0, memory: int | None = None) -> DeviceKind:
    """Returns devices that do `speed` flops a second and nothing else takes them time."""
    return DeviceKind(name, count, DeviceSpeed(speed, 1.0, 0.0), memory)


def cluster(*kinds: DeviceKind, bytes_per_s: float = 1e6, latency_s: float = 0.0) -> Cluster:
    """Returns devices with one sort of link between them."""
    return Cluster(kinds, default_link=LinkSpec(bytes_per_s, latency_s))
