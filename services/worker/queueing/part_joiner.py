"""Joins the main and the direct part of a request for one stage. Events in, decisions out."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from onnxmesh.error_text import listed
from onnxmesh.errors import CorruptData, DeadlineExceeded, MeshError, Overloaded
from onnxmesh.ids import StageKey
from services.worker.requests.request_flow import Drop, Refuse
from services.worker.requests.request_key import RequestKey
from services.worker.requests.stage_request import StageRequest

PARTS_RETRY_AFTER_S = 0.1
"""Delay after which a part that found no capacity may be retried."""


@dataclass(frozen=True, slots=True)
class Wait:
    """The part stays until the other one arrives."""


@dataclass(frozen=True, slots=True)
class Run:
    """Both parts are here; the decision is about the joined request."""


PartDecision = Wait | Run | Drop | Refuse
PartDecisions = list[tuple[StageRequest, PartDecision]]
"""Decisions about parts and joined requests, in order."""


class PartJoiner:
    """Pending parts of requests for one stage with direct inputs.

    The stage before sends the main part, the gateway the direct part. Whichever arrives first is pending until the
    other arrives, its deadline passes, its attempt is cancelled, its gateway disconnects or the stage is evicted. At
    most one part is pending for each request: that of its newest attempt.

    Args:
        stage: The stage.
        direct_inputs: Names of the direct part's tensors; empty: every direct part is refused.
        max_parts: How many parts may be pending.
        max_bytes: How many bytes of tensors may be pending; a single part may have more.

    Attributes:
        num_bytes: Bytes of the pending tensors.
    """

    def __init__(
        self, stage: StageKey, direct_inputs: frozenset[str], *, max_parts: int, max_bytes: int
    ) -> None:
        self._stage = stage
        self._direct_inputs = direct_inputs
        self._max_parts = max_parts
        self._max_bytes = max_bytes
        self._parts: dict[tuple[str, int], StageRequest] = {}
        self.num_bytes = 0

    def __len__(self) -> int:
        return len(self._parts)

    @property
    def earliest_s(self) -> float:
        """The earliest deadline of the pending parts; infinity where none has one."""
        return min((part.deadline.at_s for part in self._parts.values()), default=math.inf)

    def add(self, part: StageRequest, *, now_s: float, gateway_connected: bool) -> PartDecisions:
        """Decides about a part that arrived.

        Args:
            part: The main or the direct part.
            now_s: This process's monotonic clock.
            gateway_connected: Whether a link to its gateway is open. Without one, no direct part will arrive and no
                answer can be sent.
        """
        if (error := self._mismatch(part)) is not None:
            return [(part, Refuse(error))]
        pending = self._parts.get(_request_of(part.key))
        if pending is not None and pending.key.attempt > part.key.attempt:
            return [(part, Drop())]
        decisions: PartDecisions = []
        if pending is not None:
            self._remove(pending)
            if pending.key == part.key and pending.is_direct != part.is_direct:
                return [(_joined(pending, part), Run())]
            # An older attempt, which its gateway has given up; or the same part once more, which replaces it.
            decisions.append((pending, Drop()))
        if not gateway_connected:
            return [*decisions, (part, Drop())]
        if self._is_full_for(part):
            decisions += self.expire(now_s)
        if self._is_full_for(part):
            return [*decisions, (part, Refuse(self._full()))]
        self._parts[_request_of(part.key)] = part
        self.num_bytes += part.num_bytes
        return [*decisions, (part, Wait())]

    def expire(self, now_s: float) -> PartDecisions:
        """Removes the parts whose deadline has passed."""
        late = DeadlineExceeded(f"the deadline passed before both parts of a request were at {self._stage}")
        return self._remove_if(lambda part: part.deadline.at_s <= now_s, Refuse(late))

    def cancel(self, key: RequestKey) -> PartDecisions:
        """Removes the part of a cancelled attempt."""
        pending = self._parts.get(_request_of(key))
        if pending is None or pending.key != key:
            return []
        self._remove(pending)
        return [(pending, Drop())]

    def drop_gateway(self, origin: str) -> PartDecisions:
        """Removes the parts of a gateway that disconnected or has a new link: it has failed its earlier attempts."""
        return self._remove_if(lambda part: part.key.origin == origin, Drop())

    def refuse_all(self, error: MeshError) -> PartDecisions:
        """Removes every part, because the stage is evicted."""
        return self._remove_if(lambda _: True, Refuse(error))

    def _remove_if(self, predicate: Callable[[StageRequest], bool], decision: PartDecision) -> PartDecisions:
        removed = [part for part in self._parts.values() if predicate(part)]
        for part in removed:
            self._remove(part)
        return [(part, decision) for part in removed]

    def _remove(self, part: StageRequest) -> None:
        del self._parts[_request_of(part.key)]
        self.num_bytes -= part.num_bytes

    def _is_full_for(self, part: StageRequest) -> bool:
        if len(self._parts) >= self._max_parts:
            return True
        return bool(self._parts) and self.num_bytes + part.num_bytes > self._max_bytes

    def _full(self) -> Overloaded:
        num = len(self._parts)
        return Overloaded(
            f"{num} request{'s' * (num != 1)} with {self.num_bytes} bytes already wait{'s' * (num == 1)} for the other "
            f"part at {self._stage}",
            retry_after_s=PARTS_RETRY_AFTER_S,
        )

    def _mismatch(self, part: StageRequest) -> CorruptData | None:
        received = part.tensors.keys()
        if part.is_direct and (received != self._direct_inputs or not received):
            return CorruptData(
                f"{self._stage} receives {listed(sorted(self._direct_inputs), none='nothing')} straight from the gateway; the direct part has "
                f"{listed(sorted(received), none='nothing')}"
            )
        if not part.is_direct and not self._direct_inputs.isdisjoint(received):
            return CorruptData(
                f"{self._stage} receives {listed(sorted(self._direct_inputs & received), none='nothing')} straight from the gateway; the stage "
                f"before sent it too"
            )
        return None


def _request_of(key: RequestKey) -> tuple[str, int]:
    return key.origin, key.number


def _joined(first: StageRequest, second: StageRequest) -> StageRequest:
    """Returns the request of two parts, as if it had arrived with the second; its route is the main part's."""
    main, direct = (second, first) if first.is_direct else (first, second)
    return StageRequest(
        key=main.key,
        header=main.header,
        tensors={**main.tensors, **direct.tensors},
        deadline=main.deadline.earlier(direct.deadline),
        arrived_s=second.arrived_s,
        wire_ns=main.wire_ns,
        credit=main.credit,
    )
