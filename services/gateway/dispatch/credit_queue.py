"""Large requests that wait for credit of their first stage."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from heapq import heappop, heappush
from itertools import count
from typing import Any

from onnxmesh.ids import WorkerId
from onnxmesh.rpc.link_policy.credits import Credit, Credits, NextStage


@dataclass(order=True, slots=True)
class _Waiting:
    position: tuple[int, float, int]
    num_bytes: int = field(compare=False)
    admitted: asyncio.Future[None] = field(compare=False)


class CreditQueue:
    """Grants large requests the credit of their first stages. Belongs to one event loop.

    Requests wait in order of priority, then of deadline, then of arrival.
    """

    def __init__(self) -> None:
        self._credits = Credits()
        self._numbers = count()
        self._queues: dict[NextStage, list[_Waiting]] = {}

    @property
    def num_waiting(self) -> int:
        """Requests that wait."""
        return sum(not each.admitted.done() for queue in self._queues.values() for each in queue)

    async def acquire(
        self,
        next_stage: NextStage,
        num_bytes: int,
        urgency: tuple[int, float],
        ended: asyncio.Future[Any],
    ) -> Credit | None:
        """Waits until the first stage has credit for a request, and takes it.

        Args:
            next_stage: The first stage.
            num_bytes: Size of what is to be sent.
            urgency: Priority and deadline; less goes first.
            ended: Done once the attempt has ended.

        Returns:
            Credit to be given back if the request is not sent after all; None where the attempt ended first.
        """
        credit = Credit(partial(self.give_back, next_stage, num_bytes))
        if next_stage not in self._queues and self._credits.headroom(next_stage) > 0:
            self._credits.take(next_stage, num_bytes)
            return credit
        admitted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue = self._queues.setdefault(next_stage, [])
        heappush(queue, _Waiting((*urgency, next(self._numbers)), num_bytes, admitted))
        try:
            await asyncio.wait((admitted, ended), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            if not admitted.cancel():
                credit.give_back()
            raise
        if admitted.done():
            return credit
        admitted.cancel()
        return None

    def give_back(self, next_stage: NextStage, num_bytes: int) -> None:
        """Returns credit, and admits the requests that it suffices for."""
        self._credits.give_back(next_stage, num_bytes)
        self._admit((next_stage,))

    def remove_worker(self, worker: WorkerId) -> None:
        """Voids the credit taken of a worker whose stream is lost, and admits the requests that wait for it."""
        self._credits.remove_worker(worker)
        self._admit([stage for stage in self._queues if stage[0] == worker])

    def _admit(self, stages: Iterable[NextStage]) -> None:
        for stage in stages:
            queue = self._queues.get(stage, [])
            while queue and (queue[0].admitted.done() or self._credits.headroom(stage) > 0):
                first = heappop(queue)
                if not first.admitted.done():
                    self._credits.take(stage, first.num_bytes)
                    first.admitted.set_result(None)
            if not queue:
                self._queues.pop(stage, None)
