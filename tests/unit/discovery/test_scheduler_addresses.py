"""Addresses of schedulers are configured, or discovered as they register."""

from __future__ import annotations

import asyncio

from onnxmesh.discovery.instance import Instance
from onnxmesh.discovery.scheduler_addresses import ConfiguredSchedulers, DiscoveredSchedulers
from onnxmesh.latest import Latest


class Directory:
    def __init__(self):
        self.latest = Latest({})

    @property
    def instances(self):
        return self.latest.value

    async def after(self, revision):
        return await self.latest.after(revision)


async def test_configured_schedulers_are_known_at_once():
    schedulers = ConfiguredSchedulers(["a:1", "b:2"])
    assert schedulers.addresses == await schedulers.wait_any() == ("a:1", "b:2")
    assert ConfiguredSchedulers([]).why_none == "none is configured, by --scheduler or --consul"


async def test_discovered_schedulers_wait_for_the_first_one():
    directory = Directory()
    schedulers = DiscoveredSchedulers(directory, lambda: "the directory is empty")
    assert schedulers.why_none == "the directory is empty"
    waiting = asyncio.ensure_future(schedulers.wait_any())
    worker = Instance("w", "worker", "w:1", 1)
    directory.latest.set({"w": worker})
    await asyncio.sleep(0)
    assert not waiting.done()
    directory.latest.set({"w": worker, "s": Instance("s", "scheduler", "s:1", 1)})
    assert await waiting == ["s:1"]
    assert schedulers.addresses == ["s:1"]
