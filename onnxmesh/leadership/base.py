"""Port of leader election: one candidate leads, and its term fences off the leaders before it."""

from __future__ import annotations

import json
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass
from typing import Protocol

from onnxmesh.latest import Latest


@dataclass(frozen=True, slots=True)
class Leader:
    """The elected leader.

    Attributes:
        id: Its name.
        address: `HOST:PORT` at which it is reached.
        term: Its term, greater than that of any leader before. Its commands carry the term, so that a worker that has
            seen a later one refuses them.
    """

    id: str
    address: str
    term: int

    def to_json(self) -> str:
        """Returns the leader as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> Leader:
        """Reads what `to_json` wrote.

        Raises:
            ValueError: The text is something else.
        """
        try:
            document = json.loads(text)
            return cls(str(document["id"]), str(document["address"]), int(document["term"]))
        except (KeyError, TypeError) as error:
            raise ValueError(f"no leader: {text!r}") from error


@dataclass(frozen=True, slots=True)
class LeaderStatus:
    """The outcome of the election, as one candidate knows it.

    Attributes:
        leader: The leader; None while there is none.
        is_leader: Whether this candidate leads.
        fence: Fencing token by which the store checks that this candidate leads; empty where none is needed.
    """

    leader: Leader | None = None
    is_leader: bool = False
    fence: str = ""

    @property
    def term(self) -> int:
        """The leader's term; 0 while there is no leader."""
        return 0 if self.leader is None else self.leader.term


class Candidate:
    """A candidate's view of the election. For one event loop."""

    def __init__(self) -> None:
        self._latest: Latest[LeaderStatus] = Latest(LeaderStatus())

    @property
    def status(self) -> LeaderStatus:
        """The newest status."""
        return self._latest.value

    @property
    def revision(self) -> int:
        """Number of the status, from 1."""
        return self._latest.revision

    async def after(self, revision: int) -> tuple[int, LeaderStatus]:
        """Waits for a revision greater than `revision` (0: any) and returns it with its status."""
        return await self._latest.after(revision)

    def set(self, status: LeaderStatus) -> None:
        """Publishes a status, if it differs from the newest; for adapters."""
        if status != self._latest.value:
            self._latest.set(status)


class LeaderElection(Protocol):
    """Port that elects one of several candidates."""

    def campaign(
        self, id_: str, address: str, candidate: Candidate | None = None
    ) -> AbstractAsyncContextManager[Candidate]:
        """Stands for election for the duration of the context; a leader resigns at its end.

        Entering does not wait for an outcome.

        Args:
            id_: The candidate's name.
            address: `HOST:PORT` at which it is reached.
            candidate: Receives the status and is yielded; None: a new one.
        """
        ...


def next_term(previous: int, now_s: float) -> int:
    """Returns a term after `previous`: the time in milliseconds, unless the clock went back."""
    return max(previous + 1, int(now_s * 1000))
