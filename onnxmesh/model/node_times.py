"""The time of each node on one kind of device: measured, or told from another's, or estimated."""

from __future__ import annotations

from onnxmesh.errors import InvalidPlan
from onnxmesh.model.cluster import DeviceKind
from onnxmesh.model.device_speed import PICOSECONDS
from onnxmesh.model.graph_costs import GraphCosts
from onnxmesh.model.profile import Profile


def node_times(costs: GraphCosts, kind: DeviceKind, profile: Profile | None = None) -> list[int]:
    """Returns the time of each node on a device of that kind, in whole picoseconds.

    A profile that has times of the kind is taken at its word. One that has another device's scales them,
    node by node, by the ratio of the two devices' estimates: what is slower than it looks on one device is on
    the other, too. Without a profile, estimates stand alone.

    Args:
        costs: The graph.
        kind: The device.
        profile: Of the same model at the same level; None: there is none.

    Raises:
        InvalidPlan: The profile is of another graph: it has another number of nodes (INVALID_ARGUMENT).
    """
    estimates = [kind.speed.node_ps(node.flops, node.bytes_moved) for node in costs.nodes]
    if profile is None or not profile.devices:
        return estimates
    own = profile.devices.get(kind.profile or kind.name)
    measured = own or next(iter(profile.devices.values()))
    if len(measured.node_s) != len(costs.nodes):
        msg = f"the profile is of another graph: it has times of {len(measured.node_s)} nodes, the graph has {len(costs.nodes)}"
        raise InvalidPlan(msg)
    if own is not None:
        return [round(seconds * PICOSECONDS) for seconds in own.node_s]
    return [
        round(seconds * PICOSECONDS * estimate / max(1, measured.speed.node_ps(node.flops, node.bytes_moved)))
        for seconds, estimate, node in zip(measured.node_s, estimates, costs.nodes, strict=True)
    ]
