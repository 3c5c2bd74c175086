"""Leader election by a session's lock on a key in Consul."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from time import time
from typing import Any

import structlog

from onnxmesh.consul.agent import ConsulAgent
from onnxmesh.consul.blocking_query import BlockingQuery
from onnxmesh.consul.outage_notice import OutageNotice
from onnxmesh.deadline import Clock
from onnxmesh.errors import MeshError, NotFound
from onnxmesh.leadership.base import Candidate, Leader, LeaderStatus, next_term

SESSION_TTL_S = 10
"""TTL of a leader's session; the shortest that Consul allows. Consul takes up to twice as long to notice its end; the
health check that the session depends on frees the lock of a killed leader sooner."""

LOCK_DELAY_S = 1
"""Time before the lock of an ended session can be acquired again. Consul's default of 15 s is for leaders without
fencing; here workers refuse commands of an older term and Consul itself refuses writes under a lost lock. One second
lets commands on the wire arrive before the next leader queries what workers hold."""

_RENEW_S = 3.0
_RETRY_S = 0.25
_RESIGN_S = 2.0

_log = structlog.get_logger(__name__)


class ConsulLeaderElection:
    """The `LeaderElection` of schedulers that share a Consul.

    A leader that cannot reach Consul keeps leading until Consul reports another one. If another candidate is elected
    meanwhile, terms and the fence keep the two apart.

    Args:
        agent: The Consul agent.
        checks: Ids of this candidate's health checks that its session depends on; they must pass for it to lead.
        has_checks: Whether Consul has those checks by now; until then this candidate does not stand.
        clock: Seconds since 1970.
    """

    def __init__(
        self,
        agent: ConsulAgent,
        checks: Sequence[str] = (),
        *,
        has_checks: Callable[[], bool] = lambda: True,
        clock: Clock = time,
    ) -> None:
        self._agent = agent
        self._checks = ["serfHealth", *checks]
        self._has_checks = has_checks
        self._clock = clock
        self._key = lock_key(agent.access.prefix)
        self._term_key = f"{agent.access.prefix}/leader-term"

    @asynccontextmanager
    async def campaign(
        self, id_: str, address: str, candidate: Candidate | None = None
    ) -> AsyncIterator[Candidate]:
        """Stands for election for the duration of the context; a leader resigns at its end.

        Entering does not wait for an outcome.
        """
        candidate = candidate or Candidate()
        async with asyncio.TaskGroup() as group:
            running = group.create_task(self._run(id_, address, candidate))
            try:
                yield candidate
            finally:
                running.cancel()
                await asyncio.wait([running])
                await self._resign(candidate.status.fence)
                candidate.set(LeaderStatus())

    async def _run(self, id_: str, address: str, candidate: Candidate) -> None:
        query = BlockingQuery(
            self._agent, lambda client, index, wait: client.kv.get(self._key, index=index, wait=wait)
        )
        session, wait_s = "", _RENEW_S
        notice = OutageNotice()
        while True:
            try:
                if session:
                    await self._renew(session)
                lock = await query.next(wait_s)
                wait_s = _RENEW_S
                notice.end()
                if lock is not None and session and lock.get("Session") == session:
                    if not candidate.status.is_leader:
                        await self._begin_term(session, id_, address, candidate)
                    continue
                self._follow(lock, candidate)
                if lock is None or not lock.get("Session"):
                    if not session and not self._has_checks():
                        wait_s = _RETRY_S
                        continue
                    session = session or await self._create_session(id_)
                    if not await self._acquire(session):
                        # Within the lock delay, whose end no blocking query reports.
                        wait_s = _RETRY_S
            except NotFound:
                _log.info("session_ended", id=id_)
                session = ""
            except MeshError as error:
                if notice.is_due(error.message):
                    _log.warning("campaign_interrupted", id=id_, error=error.message)
                wait_s = _RETRY_S
                await asyncio.sleep(_RETRY_S)

    async def _create_session(self, id_: str) -> str:
        session: str = await self._agent.call(
            lambda client: client.session.create(
                f"{self._agent.access.prefix}-scheduler-{id_}",
                checks=self._checks,
                lock_delay=LOCK_DELAY_S,
                ttl=SESSION_TTL_S,
            )
        )
        return session

    async def _renew(self, session: str) -> None:
        await self._agent.call(lambda client: client.session.renew(session))

    async def _acquire(self, session: str) -> bool:
        """Tries to acquire the lock. Its holder writes its name once it has a term."""
        acquired: bool = await self._agent.call(lambda client: client.kv.put(self._key, "", acquire=session))
        return acquired

    async def _begin_term(self, session: str, id_: str, address: str, candidate: Candidate) -> None:
        """Begins a term as the holder of the lock."""
        leader = Leader(id_, address, await self._term())
        value = leader.to_json()
        if await self._agent.call(lambda client: client.kv.put(self._key, value, acquire=session)):
            _log.info("leading", id=id_, term=leader.term)
            candidate.set(LeaderStatus(leader, is_leader=True, fence=session))

    async def _term(self) -> int:
        """Allocates the next term by compare-and-set, so that no two leaders have the same."""
        while True:
            _, held = await self._agent.call(
                lambda client: client.kv.get(self._term_key, consistency="consistent")
            )
            text = ((held or {}).get("Value") or b"0").decode()
            term = next_term(int(text) if text.isdecimal() else 0, self._clock())
            index = 0 if held is None else held["ModifyIndex"]
            allocated = await self._agent.call(
                lambda client, term=term, index=index: client.kv.put(self._term_key, str(term), cas=index)  # type: ignore[misc]
            )
            if allocated:
                return term

    def _follow(self, lock: dict[str, Any] | None, candidate: Candidate) -> None:
        if candidate.status.is_leader:
            _log.warning("leadership_lost", term=candidate.status.term)
        leader = None
        if lock is not None and lock.get("Session"):
            try:
                leader = Leader.from_json(lock.get("Value") or b"")
            except ValueError:
                leader = None  # its holder has not written its name yet
        candidate.set(LeaderStatus(leader))

    async def _resign(self, session: str) -> None:
        if not session:
            return
        try:
            async with asyncio.timeout(_RESIGN_S):
                # Released, not only ended with the session: then the lock delay does not apply.
                await self._agent.call(lambda client: client.kv.put(self._key, "", release=session))
                await self._agent.call(lambda client: client.session.destroy(session))
        except (MeshError, TimeoutError) as error:
            _log.warning("resignation_failed", error=str(error))


def lock_key(prefix: str) -> str:
    """Returns the key that the leader's session locks."""
    return f"{prefix}/leader"
