"""Credit-based flow control: how much a process may have in flight to the stages that it sends to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from onnxmesh.ids import StageKey, WorkerId

WINDOW_BYTES = 32 << 20
"""Bytes that one process may have in flight to one stage of another: enough for 1 Gbit/s over 250 ms."""

MIN_REQUESTS = 2
"""Requests that may be in flight however large they are: one waits while one runs."""

MIN_CREDITED_BYTES = 1 << 20
"""Smaller requests need no credit: the length of the stage's queue bounds them."""

UNBOUNDED = 1 << 30
"""The headroom of a stage without requests in flight."""

NextStage = tuple[WorkerId, StageKey]
"""A stage and the worker that a request is sent to for it, which may be the sender itself."""


@dataclass(slots=True)
class _Account:
    """Requests and bytes in flight to one stage, and the bytes of the last request."""

    num_requests: int = 0
    num_bytes: int = 0
    last_bytes: int = 0


class Credits:
    """The credit windows of all next stages: requests that were sent there and have not begun to run.

    A sender without headroom waits: a gateway before it sends, a worker before it runs the stage before, whose own
    requests then wait in its queue. A window belongs to one stage, never to a link: a stage waits for later stages of
    its own pipeline only, and the last one waits for none, so there is always one that can run, whichever workers the
    stages are on.

    Args:
        window_bytes: Bytes that may be in flight to one stage.
    """

    def __init__(self, window_bytes: int = WINDOW_BYTES) -> None:
        self._window_bytes = window_bytes
        self._accounts: dict[NextStage, _Account] = {}

    def __bool__(self) -> bool:
        """Whether a request to a worker that is still connected ever took credit."""
        return bool(self._accounts)

    def headroom(self, next_stage: NextStage) -> int:
        """Returns how many requests as large as the last one may be sent there now."""
        account = self._accounts.get(next_stage)
        if account is None:
            return UNBOUNDED
        fitting = (self._window_bytes - account.num_bytes) // account.last_bytes
        return max(0, MIN_REQUESTS - account.num_requests, fitting)

    def take(self, next_stage: NextStage, num_bytes: int) -> None:
        """Takes credit for a request that is about to be sent."""
        account = self._accounts.setdefault(next_stage, _Account())
        account.num_requests += 1
        account.num_bytes += num_bytes
        account.last_bytes = num_bytes

    def give_back(self, next_stage: NextStage, num_bytes: int) -> None:
        """Returns the credit of a request that has begun to run there or has ended; ignored after `remove_worker`."""
        account = self._accounts.get(next_stage)
        if account is not None and account.num_requests:
            account.num_requests -= 1
            account.num_bytes = max(0, account.num_bytes - num_bytes) if account.num_requests else 0

    def in_flight(self, next_stage: NextStage) -> tuple[int, int]:
        """Returns the requests in flight to a stage, and their bytes."""
        account = self._accounts.get(next_stage)
        return (0, 0) if account is None else (account.num_requests, account.num_bytes)

    def remove_worker(self, worker: WorkerId) -> None:
        """Removes the windows of a worker whose link has ended: nothing is in flight to it."""
        self._accounts = {place: each for place, each in self._accounts.items() if place[0] != worker}


class Credit:
    """The credit of one request, given back to its sender once the request no longer waits here.

    Args:
        on_return: Called once, with the first `give_back`.
    """

    __slots__ = ("_on_return",)

    def __init__(self, on_return: Callable[[], None]) -> None:
        self._on_return: Callable[[], None] | None = on_return

    def give_back(self) -> None:
        """Gives the credit back, unless that was done before."""
        if self._on_return is not None:
            on_return, self._on_return = self._on_return, None
            on_return()
