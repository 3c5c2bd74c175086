"""Devices like this machine: what `onnxmesh plan` plans for where it is told of no others."""

from __future__ import annotations

from onnxmesh.planning.cluster import Cluster, DeviceKind


def like_this_machine(num_devices: int) -> Cluster:
    """Returns so many devices like one thread of this machine, linked as processes on one machine are.

    Args:
        num_devices: How many.
    """
    return Cluster((DeviceKind("this-machine", num_devices),))
