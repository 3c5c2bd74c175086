"""How many requests run at once."""

from __future__ import annotations

import asyncio

import pytest

from onnxmesh.errors import Overloaded, Unavailable
from services.gateway.admission import Admission


async def test_one_more_than_the_limit_is_refused_with_a_delay():
    """A place that becomes free is given again."""
    admission = Admission(2)
    with admission.admitted():
        with admission.admitted():
            with pytest.raises(Overloaded, match="2 requests in flight, expected 2 at most") as caught:
                admission.admitted().__enter__()
            assert caught.value.retry_after_s
        with admission.admitted():
            assert admission.num_running == 2
    assert admission.num_running == 0


async def test_draining_lets_nobody_in_and_waits_for_those_inside():
    """What runs may end; what comes is told to go elsewhere."""
    admission = Admission(2)
    inside = admission.admitted()
    inside.__enter__()
    async with asyncio.TaskGroup() as tasks:
        drain = tasks.create_task(admission.drain(30))
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="draining"):
            admission.admitted().__enter__()
        assert not drain.done()
        inside.__exit__(None, None, None)
    assert drain.result()


async def test_draining_ends_after_its_time():
    """A request that does not end does not hold the process."""
    admission = Admission(1)
    with admission.admitted():
        assert not await admission.drain(0)
