"""Where the two parts of a request for one stage meet. Pure: events in, decisions out."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass

from onnxmesh.errors import CorruptData, DeadlineExceeded, MeshError, Overloaded
from onnxmesh.ids import StageKey
from services.worker.requests.request_flow import Drop, Refuse
from services.worker.requests.request_key import RequestKey
from services.worker.requests.stage_request import StageRequest

RETRY_AFTER_S = 0.1
"""Parts that wait have mostly met the others after about this."""


@dataclass(frozen=True, slots=True)
class Wait:
    """It stays until the other part comes."""


@dataclass(frozen=True, slots=True)
class Run:
    """Both parts are here: the request, whole, is the one that the decision is about."""


Decision = Wait | Run | Drop | Refuse
Decisions = list[tuple[StageRequest, Decision]]
"""What to do with which request or part of one, in order."""


class Rendezvous:
    """The parts that wait at one stage with direct inputs.

    The main part is what the stage before sends, the direct part what the gateway sends straight. Whichever
    comes first waits here: until the other one comes, until its deadline, or until it is given up, its gateway is
    gone, or the stage is let go. One part at the most waits for each request: that of its newest attempt.

    Args:
        stage: Where they meet.
        direct_inputs: Names of the tensors that the direct part has; none: every direct part is refused.
        max_parts: How many may wait.
        max_bytes: How many bytes of tensors may wait; a single part may have more.
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
        """The first deadline of all that wait; infinity where none has one."""
        return min((part.deadline.at_s for part in self._parts.values()), default=math.inf)

    def arrive(self, part: StageRequest, *, now_s: float, origin_here: bool) -> Decisions:
        """A part comes.

        Args:
            part: The main part or the direct one.
            now_s: This process's monotonic clock.
            origin_here: Whether a link to its gateway is open. Without one, no direct part will come, and nobody
                would take the answer.
        """
        if (error := self._misfit(part)) is not None:
            return [(part, Refuse(error))]
        waiting = self._parts.get(_name(part.key))
        if waiting is not None and waiting.key.attempt > part.key.attempt:
            return [(part, Drop())]
        decisions: Decisions = []
        if waiting is not None:
            self._remove(waiting)
            if waiting.key == part.key and waiting.is_direct != part.is_direct:
                return [(_whole(waiting, part), Run())]
            # An older attempt, which its gateway has given up; or the same part again, which takes its place.
            decisions.append((waiting, Drop()))
        if not origin_here:
            return [*decisions, (part, Drop())]
        if self._is_full_for(part):
            decisions += self.expire(now_s)
        if self._is_full_for(part):
            return [*decisions, (part, Refuse(self._full()))]
        self._parts[_name(part.key)] = part
        self.num_bytes += part.num_bytes
        return [*decisions, (part, Wait())]

    def expire(self, now_s: float) -> Decisions:
        """Time passes: what is late ends."""
        late = DeadlineExceeded(f"the deadline passed before both parts of a request were at {self._stage}")
        return self._end(Refuse(late), lambda part: part.deadline.at_s <= now_s)

    def cancel(self, key: RequestKey) -> Decisions:
        """An attempt is given up."""
        waiting = self._parts.get(_name(key))
        if waiting is None or waiting.key != key:
            return []
        self._remove(waiting)
        return [(waiting, Drop())]

    def forget_origin(self, origin: str) -> Decisions:
        """A gateway is gone, or has a new link: it has failed every attempt of before."""
        return self._end(Drop(), lambda part: part.key.origin == origin)

    def let_go(self, error: MeshError) -> Decisions:
        """The stage goes away."""
        return self._end(Refuse(error), lambda _: True)

    def _end(self, decision: Decision, is_over: Callable[[StageRequest], bool]) -> Decisions:
        ended = [part for part in self._parts.values() if is_over(part)]
        for part in ended:
            self._remove(part)
        return [(part, decision) for part in ended]

    def _remove(self, part: StageRequest) -> None:
        del self._parts[_name(part.key)]
        self.num_bytes -= part.num_bytes

    def _is_full_for(self, part: StageRequest) -> bool:
        if len(self._parts) >= self._max_parts:
            return True
        return bool(self._parts) and self.num_bytes + part.num_bytes > self._max_bytes

    def _full(self) -> Overloaded:
        return Overloaded(
            f"{len(self._parts)} requests with {self.num_bytes} bytes wait for their other part at {self._stage} already",
            retry_after_s=RETRY_AFTER_S,
        )

    def _misfit(self, part: StageRequest) -> CorruptData | None:
        came = part.tensors.keys()
        if part.is_direct and (came != self._direct_inputs or not came):
            return CorruptData(
                f"{self._stage} gets {_listed(self._direct_inputs)} straight from the gateway, "
                f"{_listed(came)} came"
            )
        if not part.is_direct and not self._direct_inputs.isdisjoint(came):
            return CorruptData(
                f"{self._stage} gets {_listed(self._direct_inputs & came)} straight from the gateway, "
                f"the stage before sent it too"
            )
        return None


def _name(key: RequestKey) -> tuple[str, int]:
    return key.origin, key.number


def _whole(first: StageRequest, second: StageRequest) -> StageRequest:
    """Returns the request of two parts, as if it had come with the second of them; its way is the main part's."""
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


def _listed(names: Collection[str]) -> str:
    return ", ".join(f"'{name}'" for name in sorted(names)) or "nothing"
