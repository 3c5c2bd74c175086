"""Times of nodes on a kind of device: measured, scaled from another device's, or estimated."""

from __future__ import annotations

from onnxmesh.errors import InvalidPlan
from onnxmesh.model.cluster import DeviceKind
from onnxmesh.model.device_speed import PICOSECONDS
from onnxmesh.model.graph_costs import GraphCosts
from onnxmesh.model.profile import Profile


def node_times(costs: GraphCosts, kind: DeviceKind, profile: Profile | None = None) -> list[int]:
    """Returns the time of each node on a device of that kind, in whole picoseconds.

    Measured times of the kind are used as they are. Those of another device are scaled, node by node, by the ratio of
    the two devices' estimates: a node that is slower than estimated on one device is so on the other too. Without a
    profile, times are estimated.

    Args:
        costs: The graph.
        kind: The device.
        profile: Profile of the same model at the same optimisation level, or None.

    Raises:
        InvalidPlan: The profile has another number of nodes: it is of another graph (INVALID_ARGUMENT).
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
