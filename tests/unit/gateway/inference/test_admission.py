"""The bound on requests in flight."""

from __future__ import annotations

import asyncio

import pytest

from onnxmesh.errors import Overloaded
from services.gateway.inference.admission import Admission


async def test_admission_refuses_one_more_than_the_limit_with_a_delay():
    """A request that ends makes place for another."""
    admission = Admission(2)
    with admission.admitted():
        with admission.admitted():
            with pytest.raises(Overloaded, match="2 requests in flight, expected 2 at most") as caught:
                admission.admitted().__enter__()
            assert caught.value.retry_after_s
        with admission.admitted():
            assert admission.num_running == 2
    assert admission.num_running == 0


async def test_idle_waits_until_no_request_is_in_flight():
    """A gateway that stops waits for its requests."""
    admission = Admission(2)
    inside = admission.admitted()
    inside.__enter__()
    async with asyncio.TaskGroup() as tasks:
        idle = tasks.create_task(admission.idle(30))
        await asyncio.sleep(0)
        assert not idle.done()
        inside.__exit__(None, None, None)
    assert idle.result()


async def test_idle_gives_up_after_its_timeout():
    """A request that does not end does not hold the process."""
    admission = Admission(1)
    with admission.admitted():
        assert not await admission.idle(0)
