"""Requests that wait for a stage. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count

from onnxmesh.errors import Overloaded
from onnxmesh.priority import DEFAULT_PRIORITY
from services.worker.requests.batch_rule import BatchRule, Group
from services.worker.requests.request_key import RequestKey
from services.worker.requests.stage_request import StageRequest

PATIENCE_S = 10.0
"""A request is not passed by those of its priority that come later than this after it, however short their time is."""

_Place = tuple[int, float, int]
"""Priority, deadline, number: less is first."""


@dataclass(slots=True)
class _Waiting:
    request: StageRequest
    place: _Place
    group: Group | None


@dataclass(slots=True)
class _Lane:
    """Requests that may run together; without a group, the one that runs alone.

    Places of requests that were taken out stay until they come to the front.
    """

    places: list[tuple[_Place, RequestKey]] = field(default_factory=list)
    num_requests: int = 0
    num_rows: int = 0


@dataclass(frozen=True, slots=True)
class Next:
    """What would be taken now.

    Attributes:
        num_requests: How many requests wait that may run together with the first.
        num_rows: Their rows; 0 where the first may run with no other, whoever comes.
        deadline_s: Of the first.
    """

    num_requests: int
    num_rows: int
    deadline_s: float


class StageQueue:
    """A bounded queue, from which a request can be taken by its key at any place.

    The most urgent priority is first, in it the earliest deadline, then the first that came. With the first leave those
    next in line that may run together with it; of the micro-batches of one request one at the most, for the others would only
    be kept from the next stage.

    Args:
        max_requests: How many may wait.
        rule: What may run together; None: nothing.
    """

    def __init__(self, max_requests: int, rule: BatchRule | None = None) -> None:
        self._max_requests = max_requests
        self._rule = rule
        self._numbers = count()
        self._waiting: dict[RequestKey, _Waiting] = {}
        self._lanes: dict[object, _Lane] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def is_full(self) -> bool:
        """Whether the next one would be refused."""
        return len(self._waiting) >= self._max_requests

    def put(self, request: StageRequest) -> None:
        """Adds a request; a second one of the same key takes the place of the first.

        Raises:
            Overloaded: The queue is full (RESOURCE_EXHAUSTED).
        """
        if self.is_full and request.key not in self._waiting:
            raise Overloaded(f"{self._max_requests} requests wait for {request.stage} already")
        self.discard(request.key)
        group = None if self._rule is None else self._rule.group_of(request)
        place = (
            request.header.priority or DEFAULT_PRIORITY,
            min(request.deadline.at_s, request.arrived_s + PATIENCE_S),
            next(self._numbers),
        )
        self._waiting[request.key] = _Waiting(request, place, group)
        lane = self._lanes.setdefault(_like(group), _Lane())
        heappush(lane.places, (place, request.key))
        lane.num_requests += 1
        lane.num_rows += 0 if group is None else group.rows

    def next(self) -> Next | None:
        """Returns what `take` would take the first of; None if nobody waits."""
        lane = self._first_lane()
        if lane is None:
            return None
        first = self._waiting[lane.places[0][1]]
        deadline_s = first.request.deadline.at_s
        if first.group is None or self._rule is None:
            return Next(1, 0, deadline_s)
        return Next(lane.num_requests, lane.num_rows, deadline_s)

    def take(self, room: Callable[[StageRequest], int] | None = None) -> list[StageRequest]:
        """Removes and returns the first request, with those that may run together with it; nothing if nobody waits.

        Args:
            room: Tells for a request how many that go where it goes may be taken; None: all may. Those without room are
                passed by others.
        """
        first = self._first(room)
        if first is None:
            return []
        lane = self._lanes[_like(first.group)]
        taken = [self._remove(first)]
        if first.group is None or self._rule is None:
            return taken
        rows = first.group.rows
        whole = {_whole(first.request)}
        passed: list[tuple[_Place, RequestKey]] = []
        while (other := self._front(lane)) is not None and other.group is not None:
            of = _whole(other.request)
            if (of is not None and of in whole) or (
                room is not None and room(other.request) <= _num_alongside(other.request, taken)
            ):
                passed.append(heappop(lane.places))
                continue
            rows += other.group.rows
            if rows > self._rule.max_rows:
                break
            taken.append(self._remove(other))
            whole.add(of)
        for place in passed:
            heappush(lane.places, place)
        return taken

    def discard(self, key: RequestKey) -> StageRequest | None:
        """Removes and returns the request of that key, if it waits here."""
        waiting = self._waiting.get(key)
        return None if waiting is None else self._remove(waiting)

    def sweep(self, is_over: Callable[[StageRequest], bool]) -> Iterator[StageRequest]:
        """Removes and yields those that need not run any more."""
        for waiting in [each for each in self._waiting.values() if is_over(each.request)]:
            yield self._remove(waiting)

    def _first(self, room: Callable[[StageRequest], int] | None) -> _Waiting | None:
        lane = self._first_lane()
        if lane is None:
            return None
        first = self._waiting[lane.places[0][1]]
        if room is None or room(first.request) > 0:
            return first
        fitting = (each for each in self._waiting.values() if room(each.request) > 0)
        return min(fitting, key=lambda each: each.place, default=None)

    def _first_lane(self) -> _Lane | None:
        lanes = [lane for lane in self._lanes.values() if self._front(lane) is not None]
        return min(lanes, key=lambda lane: lane.places[0][0], default=None)

    def _front(self, lane: _Lane) -> _Waiting | None:
        """Returns the first that waits in a lane, rid of the places of those that do not wait any more."""
        while lane.places:
            place, key = lane.places[0]
            waiting = self._waiting.get(key)
            if waiting is not None and waiting.place == place:
                return waiting
            heappop(lane.places)
        return None

    def _remove(self, waiting: _Waiting) -> StageRequest:
        del self._waiting[waiting.request.key]
        like = _like(waiting.group)
        lane = self._lanes[like]
        lane.num_requests -= 1
        lane.num_rows -= 0 if waiting.group is None else waiting.group.rows
        if not lane.num_requests:
            del self._lanes[like]
        return waiting.request


def _num_alongside(request: StageRequest, taken: Iterable[StageRequest]) -> int:
    """Returns how many of the requests go where this one goes."""
    return sum(each.next_hop == request.next_hop for each in taken)


def _whole(request: StageRequest) -> tuple[str, int] | None:
    """Returns what a micro-batch is a piece of; None for a whole request."""
    split_of = request.header.split_of
    return (request.key.origin, split_of) if split_of else None


def _like(group: Group | None) -> object:
    return None if group is None else group.like
