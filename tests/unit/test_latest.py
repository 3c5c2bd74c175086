"""Readers wait for the next revision of a value."""

from __future__ import annotations

import asyncio

from onnxmesh.latest import Latest


async def test_latest_returns_the_first_value_at_once():
    latest = Latest("a")
    assert await latest.after(0) == (1, "a")
    assert (latest.revision, latest.value) == (1, "a")


async def test_latest_wakes_every_waiting_reader():
    latest = Latest("a")
    readers = [asyncio.ensure_future(latest.after(1)) for _ in range(3)]
    await asyncio.sleep(0)
    assert not any(reader.done() for reader in readers)
    latest.set("b")
    assert await asyncio.gather(*readers) == [(2, "b")] * 3


async def test_latest_skips_values_in_between():
    latest = Latest(0)
    for value in (1, 2, 3):
        latest.set(value)
    assert await latest.after(1) == (4, 3)
