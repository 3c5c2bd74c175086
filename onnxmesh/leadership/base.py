"""The port of leadership: one of several decides, and its term of office fences off those before it."""

from __future__ import annotations

import json
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass
from typing import Protocol

from onnxmesh.latest import Latest


@dataclass(frozen=True, slots=True)
class Leader:
    """Who leads.

    Attributes:
        id: Its name.
        address: `HOST:PORT` at which it is reached.
        term: Its term of office: greater than that of any leader before. What it commands carries the term, so
            that whoever has heard of a later one refuses it.
    """

    id: str
    address: str
    term: int

    def to_json(self) -> str:
        """Returns text that says the same."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> Leader:
        """Reads what `to_json` wrote.

        Raises:
            ValueError: It is something else.
        """
        try:
            document = json.loads(text)
            return cls(str(document["id"]), str(document["address"]), int(document["term"]))
        except (KeyError, TypeError) as error:
            raise ValueError(f"no leader: {text!r}") from error


@dataclass(frozen=True, slots=True)
class LeaderStatus:
    """What one candidate knows.

    Attributes:
        leader: Who leads, as far as is known; None while nobody does.
        leads: Whether that is this candidate itself.
        fence: Proves to the store that this candidate leads; empty where nothing needs it.
    """

    leader: Leader | None = None
    leads: bool = False
    fence: str = ""

    @property
    def term(self) -> int:
        """The term of the leader; 0 while nobody leads."""
        return 0 if self.leader is None else self.leader.term


class Candidacy:
    """One candidate's view of who leads. For one event loop."""

    def __init__(self) -> None:
        self._latest: Latest[LeaderStatus] = Latest(LeaderStatus())

    @property
    def standing(self) -> LeaderStatus:
        """The newest view."""
        return self._latest.value

    @property
    def revision(self) -> int:
        """Counts the views, from 1."""
        return self._latest.revision

    async def after(self, revision: int) -> tuple[int, LeaderStatus]:
        """Waits for a revision greater than `revision` (0: for none) and returns it with the view then."""
        return await self._latest.after(revision)

    def set(self, standing: LeaderStatus) -> None:
        """Takes a new view up; for adapters."""
        if standing != self._latest.value:
            self._latest.set(standing)


class Leadership(Protocol):
    """Chooses one of the candidates."""

    def campaign(
        self, id_: str, address: str, candidacy: Candidacy | None = None
    ) -> AbstractAsyncContextManager[Candidacy]:
        """Stands for election for the time of the context; whoever leads resigns at its end.

        Entering does not wait for an outcome.

        Args:
            id_: The candidate's name.
            address: Where it is reached.
            candidacy: Is told who leads, and yielded; None for a new one.
        """
        ...


def next_term(previous: int, now_s: float) -> int:
    """Returns a term after `previous`: the time in milliseconds, unless clocks went back."""
    return max(previous + 1, int(now_s * 1000))
