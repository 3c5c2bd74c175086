"""Blocking queries: each call returns when something in Consul has changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from onnxmesh.consul.agent import ConsulAgent
from onnxmesh.consul.blocking_index import BlockingIndex

MIN_PERIOD_S = 0.05
"""Shortest time between two queries, so that a busy Consul does not make this process busy too."""

Query = Callable[[Any, int, str], tuple[str, Any]]
"""Maps the py-consul client, the index and the longest wait to the new index and the answer."""


class BlockingQuery:
    """A query that is repeated, each time as soon as its answer has changed.

    Args:
        agent: The Consul agent.
        query: Makes the call.
    """

    def __init__(self, agent: ConsulAgent, query: Query) -> None:
        self._agent = agent
        self._query = query
        self._index = BlockingIndex()

    async def next(self, wait_s: float | None = None) -> Any:
        """Returns the answer when it has changed, or when `wait_s` is over; the first one at once.

        Args:
            wait_s: The longest wait; None: that of the agent's `ConsulAccess`.

        Raises:
            MeshError: As `ConsulAgent.call`; the query after it does not wait.
        """
        wait = f"{round(1000 * (self._agent.access.wait_s if wait_s is None else wait_s))}ms"
        index = self._index.value
        if index:
            await asyncio.sleep(MIN_PERIOD_S)
        try:
            new_index, answer = await self._agent.call(lambda client: self._query(client, index, wait))
        except BaseException:
            self._index.reset()
            raise
        self._index.advance(int(new_index))
        return answer
