"""Devices like this machine: what `onnxmesh plan` plans for where it is told of no others."""

from __future__ import annotations

from onnxmesh.device.device_kind import device_kind_name
from onnxmesh.graph.measuring.device_benchmark import cached_device_speed
from onnxmesh.model.cluster import Cluster, DeviceKind

_THREADS = 1


def like_this_machine(num_devices: int) -> Cluster:
    """Returns so many devices like one thread of this machine, linked as processes on one machine are.

    The machine is measured where that was not done before. Memory has no bound: they stand for machines like it.

    Args:
        num_devices: How many.
    """
    name = device_kind_name(_THREADS)
    return Cluster((DeviceKind(name, num_devices, cached_device_speed(name, _THREADS)),))
