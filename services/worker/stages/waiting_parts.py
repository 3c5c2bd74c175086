"""The requests of one stage that are not whole yet."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from time import monotonic

from onnxmesh.deadline import Clock
from onnxmesh.errors import MeshError
from services.worker.requests.request_counters import RequestCounters
from services.worker.requests.request_flow import Drop, Refuse
from services.worker.requests.request_key import RequestKey
from services.worker.requests.stage_part import StagePart
from services.worker.requests.stage_request import StageRequest
from services.worker.stages.rendezvous import Decisions, Rendezvous, Run, Wait
from services.worker.streams.gateway_replies import GatewayReplies


class WaitingParts:
    """Carries out what `Rendezvous` decides, and tells it when deadlines pass. Belongs to one event loop.

    Args:
        part: The stage.
        run: Takes a whole request; may raise a mesh error.
        origins: Who is told of what is refused.
        tally: Where it counts what becomes of requests.
        max_parts: How many may wait.
        max_bytes: How many bytes of tensors may wait; a single part may have more.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        part: StagePart,
        run: Callable[[StageRequest], None],
        origins: GatewayReplies,
        tally: RequestCounters,
        *,
        max_parts: int,
        max_bytes: int,
        clock: Clock = monotonic,
    ) -> None:
        self._rendezvous = Rendezvous(
            part.stage, part.direct_inputs, max_parts=max_parts, max_bytes=max_bytes
        )
        self._run = run
        self._origins = origins
        self._tally = tally
        self._clock = clock
        self._timer: asyncio.TimerHandle | None = None
        self._wakes_s = math.inf
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._rendezvous)

    @property
    def num_bytes(self) -> int:
        """Bytes of the tensors that wait."""
        return self._rendezvous.num_bytes

    async def none_left(self) -> None:
        """Returns once nothing waits."""
        await self._empty.wait()

    def take(self, part: StageRequest) -> None:
        """Takes a part; runs its request if that is whole now.

        Raises:
            MeshError: What `run` raised for it.
        """
        origin_here = self._origins.is_here(part.key.origin)
        self._carry_out(self._rendezvous.arrive(part, now_s=self._clock(), origin_here=origin_here))

    def cancel(self, key: RequestKey) -> None:
        """Drops what waits of an attempt that was given up."""
        self._carry_out(self._rendezvous.cancel(key))

    def forget_origin(self, origin: str) -> None:
        """Drops what waits for a gateway that has failed it."""
        self._carry_out(self._rendezvous.forget_origin(origin))

    def let_go(self, error: MeshError) -> None:
        """Refuses all that waits."""
        self._carry_out(self._rendezvous.let_go(error))

    def _carry_out(self, decisions: Decisions) -> None:
        try:
            for request, decision in decisions:
                match decision:
                    case Run():
                        self._run(request)
                    case Wait():
                        self._wake_at(request.deadline.at_s)
                    case Drop():
                        request.give_credit_back()
                        self._tally.dropped += 1
                    case Refuse(error):
                        request.give_credit_back()
                        self._origins.refuse(request.key, error)
        finally:
            if self._rendezvous:
                self._empty.clear()
            else:
                self._empty.set()
                self._stop_timer()

    def _wake_at(self, at_s: float) -> None:
        if at_s < self._wakes_s:
            self._stop_timer()
            self._wakes_s = at_s
            self._timer = asyncio.get_running_loop().call_later(max(0.0, at_s - self._clock()), self._wake)

    def _wake(self) -> None:
        self._stop_timer()
        self._carry_out(self._rendezvous.expire(self._clock()))
        self._wake_at(self._rendezvous.earliest_s)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._wakes_s = None, math.inf
