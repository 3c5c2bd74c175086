"""Requests that wait for a stage. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator

from onnxmesh.errors import Overloaded
from services.worker.request_key import RequestKey
from services.worker.stage_request import StageRequest


class StageQueue:
    """A bounded queue, first in first out, from which a request can be taken by its key at any place.

    Args:
        max_requests: How many may wait.
    """

    def __init__(self, max_requests: int) -> None:
        self._max_requests = max_requests
        self._requests: OrderedDict[RequestKey, StageRequest] = OrderedDict()

    def __len__(self) -> int:
        return len(self._requests)

    @property
    def is_full(self) -> bool:
        """Whether the next one would be refused."""
        return len(self._requests) >= self._max_requests

    def put(self, request: StageRequest) -> None:
        """Adds a request at the end; a second one of the same key takes the place of the first.

        Raises:
            Overloaded: The queue is full (RESOURCE_EXHAUSTED).
        """
        if self.is_full and request.key not in self._requests:
            raise Overloaded(f"{self._max_requests} requests wait for {request.stage} already")
        self._requests[request.key] = request

    def take(self) -> StageRequest | None:
        """Removes and returns the first request; None if nobody waits."""
        return self._requests.popitem(last=False)[1] if self._requests else None

    def discard(self, key: RequestKey) -> StageRequest | None:
        """Removes and returns the request of that key, if it waits here."""
        return self._requests.pop(key, None)

    def sweep(self, is_over: Callable[[StageRequest], bool]) -> Iterator[StageRequest]:
        """Removes and yields those that need not run any more."""
        for request in [request for request in self._requests.values() if is_over(request)]:
            del self._requests[request.key]
            yield request
