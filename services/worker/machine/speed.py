"""Measured speed of this worker, as attributes of its registration."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import structlog

from onnxmesh.discovery.registration import Registration
from onnxmesh.graph.measuring.device_benchmark import cached_device_speed
from onnxmesh.model.device_speed import DeviceSpeed
from services.worker.machine.hardware import Hardware

MAX_REGISTRATION_DELAY_S = 1.0
"""How long a registration waits for the measurement; after that, its attributes are updated later."""

_log = structlog.get_logger(__name__)

Measure = Callable[[], Awaitable[DeviceSpeed | None]]


class SpeedMeasurement:
    """Measures this worker beside its start and adds the result to its registration.

    Args:
        measure: Returns the speed, or None if it cannot be measured.
    """

    def __init__(self, measure: Measure) -> None:
        self._measure = measure
        self._done = asyncio.Event()
        self.attributes: dict[str, str] = {}
        """Attributes of the registration; empty until measured."""

    async def run(self) -> None:
        """Measures."""
        self.attributes = speed_attributes(await self._measure())
        self._done.set()

    async def wait(self, timeout_s: float = MAX_REGISTRATION_DELAY_S) -> None:
        """Returns once the measurement is done, or after the timeout."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._done.wait()
        except TimeoutError:
            pass

    async def update(self, registration: Registration) -> None:
        """Adds the speed to a registration that began before it was known."""
        await self._done.wait()
        instance = registration.instance
        registration.update(replace(instance, attributes={**instance.attributes, **self.attributes}))


async def measure_speed(hardware: Hardware, threads: int) -> DeviceSpeed | None:
    """Measures this worker in a thread, unless its kind of device was measured before; None if that fails.

    Args:
        hardware: Of this worker.
        threads: Threads of each stage.
    """
    kind = hardware.kind(threads)
    try:
        return await asyncio.to_thread(cached_device_speed, kind, threads, hardware.providers)
    except Exception as error:  # noqa: BLE001 - a worker of unknown speed serves all the same
        _log.warning("speed_not_measured", kind=kind, error=str(error))
        return None


def speed_attributes(speed: DeviceSpeed | None) -> dict[str, str]:
    """Returns a speed as registration attributes; none where it is unknown."""
    values = {} if speed is None else speed.to_plain()
    return {f"speed.{name}": repr(value) for name, value in values.items()}
