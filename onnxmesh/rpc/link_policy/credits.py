"""How much a process may have under way to the stages that it sends to. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from onnxmesh.ids import StageKey, WorkerId

WINDOW_BYTES = 32 << 20
"""What one process may have under way to one stage of another: enough for a gigabit over 250 ms."""

MIN_REQUESTS = 2
"""So many requests may be, however large they are: one comes while one runs."""

MIN_CREDITED_BYTES = 1 << 20
"""Smaller requests need no credit: the queue's length bounds them."""

UNBOUNDED = 1 << 30
"""More requests than anyone has."""

NextStage = tuple[WorkerId, StageKey]
"""A stage, and the worker that a request goes to for it, which may be the sender."""


@dataclass(slots=True)
class _Account:
    """What is under way to one stage, and what the last request took."""

    num_requests: int = 0
    num_bytes: int = 0
    last_bytes: int = 0


class Credits:
    """What this process has sent to each next stage that has not begun to run there.

    Who would send more than fits waits: a gateway before it sends, a worker before it runs the stage before, whose requests
    then wait at its input. Credits belong to one stage, never to a link: a stage waits for later ones of its own pipeline
    alone, and the last waits for nobody, so however stages lie on workers, something can always go on.

    Args:
        window_bytes: What may be under way to one stage.
    """

    def __init__(self, window_bytes: int = WINDOW_BYTES) -> None:
        self._window_bytes = window_bytes
        self._accounts: dict[NextStage, _Account] = {}

    def __bool__(self) -> bool:
        """Whether credit was ever taken by a request to a worker that is still there."""
        return bool(self._accounts)

    def headroom(self, next_stage: NextStage) -> int:
        """Returns how many requests as large as the last one may be sent there now."""
        account = self._accounts.get(next_stage)
        if account is None:
            return UNBOUNDED
        fitting = (self._window_bytes - account.num_bytes) // account.last_bytes
        return max(0, MIN_REQUESTS - account.num_requests, fitting)

    def take(self, next_stage: NextStage, num_bytes: int) -> None:
        """Takes credit for a request that is about to leave."""
        account = self._accounts.setdefault(next_stage, _Account())
        account.num_requests += 1
        account.num_bytes += num_bytes
        account.last_bytes = num_bytes

    def give_back(self, next_stage: NextStage, num_bytes: int) -> None:
        """A request of so much credit has begun to run there, or has ended; what a lost link had taken is forgotten already."""
        account = self._accounts.get(next_stage)
        if account is not None and account.num_requests:
            account.num_requests -= 1
            account.num_bytes = max(0, account.num_bytes - num_bytes) if account.num_requests else 0

    def in_flight(self, next_stage: NextStage) -> tuple[int, int]:
        """Returns the requests, and their bytes, that are under way to a stage."""
        account = self._accounts.get(next_stage)
        return (0, 0) if account is None else (account.num_requests, account.num_bytes)

    def remove_worker(self, worker: WorkerId) -> None:
        """The link to a worker is lost: nothing is under way to it."""
        self._accounts = {place: each for place, each in self._accounts.items() if place[0] != worker}


class Credit:
    """What the sender of one request wants back as soon as it waits here no more.

    Args:
        return_: Gives it back.
    """

    __slots__ = ("_return",)

    def __init__(self, return_: Callable[[], None]) -> None:
        self._return: Callable[[], None] | None = return_

    def give_back(self) -> None:
        """Gives it back, if that was not done."""
        if self._return is not None:
            return_, self._return = self._return, None
            return_()
