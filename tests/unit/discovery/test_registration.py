"""A process waits until the registry has it."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from onnxmesh.discovery.instance import Instance
from onnxmesh.discovery.registration import Registration

INSTANCE = Instance("a", "worker", "host:1", 1)


async def test_registration_waits_until_it_is_held():
    registration = Registration(INSTANCE)
    waiting = asyncio.ensure_future(registration.wait())
    await asyncio.sleep(0)
    assert not waiting.done()
    registration.mark_held()
    await waiting
    assert registration.held
    registration.mark_lost()
    assert not registration.held


def test_registration_update_replaces_the_instance():
    registration = Registration(INSTANCE)
    changed = replace(INSTANCE, tags=("gpu",))
    registration.update(changed)
    assert registration.instance is changed
