"""A blocking query waits for the index of the answer before."""

from __future__ import annotations

import pytest

from onnxmesh.consul.blocking_query import BlockingQuery
from onnxmesh.errors import Unavailable
from tests.fakes.fake_consul_agent import FakeConsulAgent


async def test_blocking_query_passes_on_index_and_wait_and_starts_again_after_a_failure():
    calls = []

    def query(client, index, wait):
        calls.append((client, index, wait))
        return "7", f"answer {len(calls)}"

    agent = FakeConsulAgent("client", wait_s=2.0)
    blocking = BlockingQuery(agent, query)
    assert await blocking.next() == "answer 1"
    assert await blocking.next(0.25) == "answer 2"
    agent.failures.append(Unavailable("away"))
    with pytest.raises(Unavailable):
        await blocking.next()
    await blocking.next()
    assert calls == [("client", 0, "2000ms"), ("client", 7, "250ms"), ("client", 0, "2000ms")]
