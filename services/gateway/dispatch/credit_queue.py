"""Requests with much to send, in line for credit of their first stage."""

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
    place: tuple[int, float, int]
    num_bytes: int = field(compare=False)
    admitted: asyncio.Future[None] = field(compare=False)


class CreditQueue:
    """Lets so many large requests set out as their first stages have room for. Belongs to one event loop.

    Those that wait are kept in order: the most urgent priority first, in it the earliest deadline, then the first that came.
    """

    def __init__(self) -> None:
        self._credits = Credits()
        self._numbers = count()
        self._lines: dict[NextStage, list[_Waiting]] = {}

    @property
    def num_waiting(self) -> int:
        """Requests that wait."""
        return sum(not each.admitted.done() for line in self._lines.values() for each in line)

    async def credit(
        self,
        next_stage: NextStage,
        num_bytes: int,
        urgency: tuple[int, float],
        over: asyncio.Future[Any],
    ) -> Credit | None:
        """Takes credit for a request as soon as there is room for it.

        Args:
            next_stage: Where it goes first.
            num_bytes: What it has to send.
            urgency: Its priority and its deadline; less goes first.
            over: Done once the attempt has ended.

        Returns:
            What must be given back if the request is not sent after all; None where the attempt ended before.
        """
        credit = Credit(partial(self.give_back, next_stage, num_bytes))
        if next_stage not in self._lines and self._credits.headroom(next_stage) > 0:
            self._credits.take(next_stage, num_bytes)
            return credit
        admitted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        line = self._lines.setdefault(next_stage, [])
        heappush(line, _Waiting((*urgency, next(self._numbers)), num_bytes, admitted))
        try:
            await asyncio.wait((admitted, over), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            if not admitted.cancel():
                credit.give_back()
            raise
        if admitted.done():
            return credit
        admitted.cancel()
        return None

    def give_back(self, next_stage: NextStage, num_bytes: int) -> None:
        """Takes credit that came back; who is next may set out."""
        self._credits.give_back(next_stage, num_bytes)
        self._admit((next_stage,))

    def forget(self, worker: WorkerId) -> None:
        """The stream to a worker is lost: nobody waits for it any more."""
        self._credits.remove_worker(worker)
        self._admit([place for place in self._lines if place[0] == worker])

    def _admit(self, places: Iterable[NextStage]) -> None:
        for place in places:
            line = self._lines.get(place, [])
            while line and (line[0].admitted.done() or self._credits.headroom(place) > 0):
                first = heappop(line)
                if not first.admitted.done():
                    self._credits.take(place, first.num_bytes)
                    first.admitted.set_result(None)
            if not line:
                self._lines.pop(place, None)
