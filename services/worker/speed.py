"""How fast this worker is, as its registration says."""

from __future__ import annotations

import asyncio

import structlog

from onnxmesh.graph.measuring.device_benchmark import cached_device_speed
from onnxmesh.model.device_speed import DeviceSpeed
from services.worker.hardware import Hardware

WAIT_S = 1.0
"""The longest that a registration waits for the measurement; where that takes longer, it is told afterwards."""

_log = structlog.get_logger(__name__)


async def measured_speed(hardware: Hardware, threads: int) -> DeviceSpeed | None:
    """Measures this worker, in a thread, unless its kind of device was measured before; None if that fails.

    Args:
        hardware: What it computes on.
        threads: Threads of each stage.
    """
    kind = hardware.kind(threads)
    try:
        return await asyncio.to_thread(cached_device_speed, kind, threads, hardware.providers)
    except Exception as error:  # noqa: BLE001 - a worker whose speed is unknown serves all the same
        _log.warning("speed_not_measured", kind=kind, error=str(error))
        return None


def speed_attributes(speed: DeviceSpeed | None) -> dict[str, str]:
    """Returns the attributes that say how fast a worker is; none where that is not known."""
    figures = {} if speed is None else speed.to_plain()
    return {f"speed.{name}": repr(figure) for name, figure in figures.items()}
