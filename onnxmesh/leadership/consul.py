"""Leadership by a session's lock on a key in Consul."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from time import time
from typing import Any

import structlog

from onnxmesh.consul.agent import ConsulAgent
from onnxmesh.consul.follow import Follower
from onnxmesh.deadline import Clock
from onnxmesh.errors import MeshError, NotFound
from onnxmesh.leadership.base import Candidacy, Leader, LeaderStatus, next_term

SESSION_TTL_S = 10
"""A leader's session ends when it was not renewed for so long; Consul's shortest. Consul takes up to twice as
long to notice: what frees the lock of a killed leader sooner is the health check that its session hangs on."""

LOCK_DELAY_S = 1
"""How long nobody gets a lock whose session was ended. Consul's 15 s are there for leaders whose writes nobody
fences off; here workers refuse commands of an older term and Consul itself refuses writes under a lost lock. One
second lets commands that are on the wire arrive before the next leader asks what workers hold."""

_RENEW_S = 3.0
_RETRY_S = 0.25
_RESIGN_S = 2.0

_log = structlog.get_logger(__name__)


class ConsulLeadership:
    """The `Leadership` of schedulers that share a Consul.

    A leader that cannot reach Consul leads on: it is deposed by what Consul says, not by its silence. If another
    takes over meanwhile, terms and the fence keep the two apart.

    Args:
        agent: The Consul agent to ask.
        checks: Ids of health checks of this candidate that its session hangs on; they must pass for it to lead.
        clock: Seconds since 1970.
    """

    def __init__(self, agent: ConsulAgent, checks: Sequence[str] = (), *, clock: Clock = time) -> None:
        self._agent = agent
        self._checks = ["serfHealth", *checks]
        self._clock = clock
        self._key = lock_key(agent.access.prefix)
        self._term_key = f"{agent.access.prefix}/leader-term"

    @asynccontextmanager
    async def campaign(
        self, id_: str, address: str, candidacy: Candidacy | None = None
    ) -> AsyncIterator[Candidacy]:
        """Stands for election for the time of the context; whoever leads resigns at its end.

        Entering does not wait for an outcome.
        """
        candidacy = candidacy or Candidacy()
        async with asyncio.TaskGroup() as group:
            running = group.create_task(self._run(id_, address, candidacy))
            try:
                yield candidacy
            finally:
                running.cancel()
                await asyncio.wait([running])
                await self._resign(candidacy.standing.fence)
                candidacy.set(LeaderStatus())

    async def _run(self, id_: str, address: str, candidacy: Candidacy) -> None:
        follower = Follower(
            self._agent, lambda client, index, wait: client.kv.get(self._key, index=index, wait=wait)
        )
        session, wait_s = "", _RENEW_S
        while True:
            try:
                if session:
                    await self._renew(session)
                lock = await follower.next(wait_s)
                wait_s = _RENEW_S
                if lock is not None and session and lock.get("Session") == session:
                    if not candidacy.standing.leads:
                        await self._take_office(session, id_, address, candidacy)
                    continue
                self._follow(lock, candidacy)
                if lock is None or not lock.get("Session"):
                    session = session or await self._session(id_)
                    if not await self._acquired(session):
                        # Within the lock's delay, the end of which changes nothing that could be waited for.
                        wait_s = _RETRY_S
            except NotFound:
                _log.info("session_ended", id=id_)
                session = ""
            except MeshError as error:
                _log.warning("campaign_interrupted", id=id_, error=error.message)
                wait_s = _RETRY_S
                await asyncio.sleep(_RETRY_S)

    async def _session(self, id_: str) -> str:
        made: str = await self._agent.ask(
            lambda client: client.session.create(
                f"{self._agent.access.prefix}-scheduler-{id_}",
                checks=self._checks,
                lock_delay=LOCK_DELAY_S,
                ttl=SESSION_TTL_S,
            )
        )
        return made

    async def _renew(self, session: str) -> None:
        await self._agent.ask(lambda client: client.session.renew(session))

    async def _acquired(self, session: str) -> bool:
        """Whether the lock could be had. Whoever has it says its name once it has a term of office."""
        had: bool = await self._agent.ask(lambda client: client.kv.put(self._key, "", acquire=session))
        return had

    async def _take_office(self, session: str, id_: str, address: str, candidacy: Candidacy) -> None:
        """Begins a term of office, in the lock's holder's own right."""
        leader = Leader(id_, address, await self._term())
        value = leader.to_json()
        if await self._agent.ask(lambda client: client.kv.put(self._key, value, acquire=session)):
            _log.info("leading", id=id_, term=leader.term)
            candidacy.set(LeaderStatus(leader, leads=True, fence=session))

    async def _term(self) -> int:
        """Takes the next term, which nobody else gets."""
        while True:
            _, held = await self._agent.ask(
                lambda client: client.kv.get(self._term_key, consistency="consistent")
            )
            text = ((held or {}).get("Value") or b"0").decode()
            term = next_term(int(text) if text.isdecimal() else 0, self._clock())
            index = 0 if held is None else held["ModifyIndex"]
            taken = await self._agent.ask(
                lambda client, term=term, index=index: client.kv.put(self._term_key, str(term), cas=index)  # type: ignore[misc]
            )
            if taken:
                return term

    def _follow(self, lock: dict[str, Any] | None, candidacy: Candidacy) -> None:
        if candidacy.standing.leads:
            _log.warning("leadership_lost", term=candidacy.standing.term)
        leader = None
        if lock is not None and lock.get("Session"):
            try:
                leader = Leader.from_json(lock.get("Value") or b"")
            except ValueError:
                leader = None  # its holder has not said yet who it is
        candidacy.set(LeaderStatus(leader))

    async def _resign(self, session: str) -> None:
        if not session:
            return
        try:
            async with asyncio.timeout(_RESIGN_S):
                # Released, not only ended with the session: then nobody has to wait for the lock's delay.
                await self._agent.ask(lambda client: client.kv.put(self._key, "", release=session))
                await self._agent.ask(lambda client: client.session.destroy(session))
        except (MeshError, TimeoutError) as error:
            _log.warning("resignation_failed", error=str(error))


def lock_key(prefix: str) -> str:
    """Returns the key that the leader's session locks."""
    return f"{prefix}/leader"
