"""The speed measurement of a worker."""

from __future__ import annotations

import asyncio

from onnxmesh.discovery.instance import Instance
from onnxmesh.discovery.registration import Registration
from onnxmesh.model.device_speed import DeviceSpeed
from services.worker.machine.speed import SpeedMeasurement, speed_attributes


def test_speed_attributes_have_one_for_each_value():
    """An unknown speed has none."""
    assert speed_attributes(None) == {}
    assert speed_attributes(DeviceSpeed(1e9, 2e9, 0.5)) == {
        "speed.flops_per_s": "1000000000.0",
        "speed.bytes_per_s": "2000000000.0",
        "speed.node_overhead_s": "0.5",
    }


async def test_speed_measurement_updates_a_registration_that_began_before_it_was_done():
    """Other attributes stay; waiting ends at the time-out."""
    measured = asyncio.get_running_loop().create_future()

    async def measure():
        return await measured

    speed = SpeedMeasurement(measure)
    registration = Registration(Instance("w", "worker", "h:1", 1, (), {"threads": "1"}))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(speed.run())
        await speed.wait(timeout_s=0.0)
        assert speed.attributes == {}
        tasks.create_task(speed.update(registration))
        await asyncio.sleep(0)
        assert registration.instance.attributes == {"threads": "1"}
        measured.set_result(DeviceSpeed(1e9, 2e9, 0.5))
    assert registration.instance.attributes == {"threads": "1"} | speed.attributes
    assert speed.attributes["speed.node_overhead_s"] == "0.5"
    await speed.wait()
