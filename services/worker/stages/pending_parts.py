"""Pending parts of requests at a stage with direct inputs: the shell of `PartJoiner`."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from time import monotonic

from onnxmesh.deadline import Clock
from onnxmesh.errors import MeshError
from services.worker.queueing.part_joiner import PartDecisions, PartJoiner, Run, Wait
from services.worker.requests.request_flow import Drop, Refuse
from services.worker.requests.request_key import RequestKey
from services.worker.requests.stage_request import StageRequest
from services.worker.requests.stage_spec import StageSpec
from services.worker.streams.gateway_replies import GatewayReplies


class PendingParts:
    """Carries out the decisions of a `PartJoiner` and expires parts by a timer. Belongs to one event loop.

    Args:
        spec: The stage.
        replies: Ends parts that are refused or dropped.
        run: Called with a joined request; may raise a mesh error.
        max_parts: How many parts may be pending.
        max_bytes: How many bytes of tensors may be pending; a single part may have more.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        spec: StageSpec,
        replies: GatewayReplies,
        *,
        run: Callable[[StageRequest], None],
        max_parts: int,
        max_bytes: int,
        clock: Clock = monotonic,
    ) -> None:
        self._joiner = PartJoiner(spec.stage, spec.direct_inputs, max_parts=max_parts, max_bytes=max_bytes)
        self._replies = replies
        self._run = run
        self._clock = clock
        self._timer: asyncio.TimerHandle | None = None
        self._expires_s = math.inf
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._joiner)

    @property
    def num_bytes(self) -> int:
        """Bytes of the pending tensors."""
        return self._joiner.num_bytes

    async def wait_empty(self) -> None:
        """Returns once no part is pending."""
        await self._empty.wait()

    def add(self, part: StageRequest) -> None:
        """Adds a part; runs its request if both parts are here now.

        Raises:
            MeshError: What `run` raised for it.
        """
        connected = self._replies.is_connected(part.key.origin)
        self._carry_out(self._joiner.add(part, now_s=self._clock(), gateway_connected=connected))

    def cancel(self, key: RequestKey) -> None:
        """Drops the pending part of a cancelled attempt."""
        self._carry_out(self._joiner.cancel(key))

    def drop_gateway(self, origin: str) -> None:
        """Drops the pending parts of a gateway that has failed their requests."""
        self._carry_out(self._joiner.drop_gateway(origin))

    def refuse_all(self, error: MeshError) -> None:
        """Refuses every pending part."""
        self._carry_out(self._joiner.refuse_all(error))

    def _carry_out(self, decisions: PartDecisions) -> None:
        try:
            for request, decision in decisions:
                match decision:
                    case Run():
                        self._run(request)
                    case Wait():
                        self._expire_at(request.deadline.at_s)
                    case Drop():
                        request.return_credit()
                        self._replies.drop(request.key)
                    case Refuse(error):
                        request.return_credit()
                        self._replies.refuse(request.key, error)
        finally:
            if self._joiner:
                self._empty.clear()
            else:
                self._empty.set()
                self._stop_timer()

    def _expire_at(self, at_s: float) -> None:
        if at_s < self._expires_s:
            self._stop_timer()
            self._expires_s = at_s
            delay_s = max(0.0, at_s - self._clock())
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._expire)

    def _expire(self) -> None:
        self._stop_timer()
        self._carry_out(self._joiner.expire(self._clock()))
        self._expire_at(self._joiner.earliest_s)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._expires_s = None, math.inf
