"""Queue of a stage: by priority, then deadline, then arrival; taken in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count

from onnxmesh.errors import Overloaded
from onnxmesh.priority import DEFAULT_PRIORITY
from services.worker.requests.batch_rule import BatchGroup, BatchRule
from services.worker.requests.request_key import RequestKey
from services.worker.requests.stage_request import StageRequest

MAX_OVERTAKING_S = 10.0
"""A request is not overtaken by one of its priority that arrives later than this after it, whatever its deadline."""

_Rank = tuple[int, float, int]
"""Priority, deadline, serial number: the least is first."""


@dataclass(slots=True)
class _Waiting:
    request: StageRequest
    rank: _Rank
    group: BatchGroup | None


@dataclass(slots=True)
class _Lane:
    """Requests of one batch group, as a heap; those without a group share a lane and run alone.

    Heap entries of removed requests stay until they reach the front.
    """

    heap: list[tuple[_Rank, RequestKey]] = field(default_factory=list)
    num_requests: int = 0
    num_rows: int = 0


@dataclass(frozen=True, slots=True)
class NextBatch:
    """The batch that would be taken now.

    Attributes:
        num_requests: Queued requests of the first one's group.
        num_rows: Their rows; 0 where the first request runs alone.
        deadline_s: Deadline of the first.
    """

    num_requests: int
    num_rows: int
    deadline_s: float


class StageQueue:
    """Bounded queue of requests, ordered by priority, then deadline, then arrival; removal by key.

    The first request is taken together with the next ones of its batch group. Of the micro-batches of one request at
    most one is in a batch: the others would only be withheld from the next stage.

    Args:
        max_requests: How many may wait.
        rule: Which requests may run together; None: each runs alone.
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
        """Whether another request would be refused."""
        return len(self._waiting) >= self._max_requests

    def put(self, request: StageRequest) -> None:
        """Adds a request; it replaces a queued one of the same key.

        Raises:
            Overloaded: The queue is full (RESOURCE_EXHAUSTED).
        """
        if self.is_full and request.key not in self._waiting:
            raise Overloaded(f"{self._max_requests} requests are queued for {request.stage} already")
        self.discard(request.key)
        group = None if self._rule is None else self._rule.group_of(request)
        rank = (
            request.header.priority or DEFAULT_PRIORITY,
            min(request.deadline.at_s, request.arrived_s + MAX_OVERTAKING_S),
            next(self._numbers),
        )
        self._waiting[request.key] = _Waiting(request, rank, group)
        lane = self._lanes.setdefault(_like(group), _Lane())
        heappush(lane.heap, (rank, request.key))
        lane.num_requests += 1
        lane.num_rows += 0 if group is None else group.rows

    def next(self) -> NextBatch | None:
        """Returns the batch that `take` would begin with; None if the queue is empty."""
        lane = self._first_lane()
        if lane is None:
            return None
        first = self._waiting[lane.heap[0][1]]
        deadline_s = first.request.deadline.at_s
        if first.group is None or self._rule is None:
            return NextBatch(1, 0, deadline_s)
        return NextBatch(lane.num_requests, lane.num_rows, deadline_s)

    def take(self, capacity: Callable[[StageRequest], int] | None = None) -> list[StageRequest]:
        """Removes and returns the first request with its batch; empty if none may be taken.

        Args:
            capacity: Returns for a request how many requests with its next hop may be taken; None: no limit. Requests
                without capacity are overtaken.
        """
        first = self._first(capacity)
        if first is None:
            return []
        lane = self._lanes[_like(first.group)]
        taken = [self._remove(first)]
        if first.group is None or self._rule is None:
            return taken
        rows = first.group.rows
        split_requests = {_split_request(first.request)}
        overtaken: list[tuple[_Rank, RequestKey]] = []
        while (other := self._front(lane)) is not None and other.group is not None:
            split_request = _split_request(other.request)
            if (split_request is not None and split_request in split_requests) or (
                capacity is not None and capacity(other.request) <= _num_alongside(other.request, taken)
            ):
                overtaken.append(heappop(lane.heap))
                continue
            rows += other.group.rows
            if rows > self._rule.max_rows:
                break
            taken.append(self._remove(other))
            split_requests.add(split_request)
        for entry in overtaken:
            heappush(lane.heap, entry)
        return taken

    def discard(self, key: RequestKey) -> StageRequest | None:
        """Removes and returns the request of that key; None if it is not queued."""
        waiting = self._waiting.get(key)
        return None if waiting is None else self._remove(waiting)

    def remove_if(self, predicate: Callable[[StageRequest], bool]) -> Iterator[StageRequest]:
        """Removes and yields the requests that the predicate holds for."""
        for waiting in [each for each in self._waiting.values() if predicate(each.request)]:
            yield self._remove(waiting)

    def _first(self, capacity: Callable[[StageRequest], int] | None) -> _Waiting | None:
        lane = self._first_lane()
        if lane is None:
            return None
        first = self._waiting[lane.heap[0][1]]
        if capacity is None or capacity(first.request) > 0:
            return first
        fitting = (each for each in self._waiting.values() if capacity(each.request) > 0)
        return min(fitting, key=lambda each: each.rank, default=None)

    def _first_lane(self) -> _Lane | None:
        lanes = [lane for lane in self._lanes.values() if self._front(lane) is not None]
        return min(lanes, key=lambda lane: lane.heap[0][0], default=None)

    def _front(self, lane: _Lane) -> _Waiting | None:
        """Returns the first queued request of a lane and drops the heap entries of removed ones before it."""
        while lane.heap:
            rank, key = lane.heap[0]
            waiting = self._waiting.get(key)
            if waiting is not None and waiting.rank == rank:
                return waiting
            heappop(lane.heap)
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
    """Returns how many of the taken requests have the next hop of this one."""
    return sum(each.next_hop == request.next_hop for each in taken)


def _split_request(request: StageRequest) -> tuple[str, int] | None:
    """Returns the split request that a micro-batch belongs to; None for a whole request."""
    split_of = request.header.split_of
    return (request.key.origin, split_of) if split_of else None


def _like(group: BatchGroup | None) -> object:
    return None if group is None else group.like
