"""Live state in Redis, shared by all gateways and schedulers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from time import monotonic
from typing import Any

import stamina
import structlog
from redis.exceptions import RedisError

from onnxmesh.deadline import Clock
from onnxmesh.live.base import FIND_SESSION_S, LiveEntry, Topic, Values
from onnxmesh.live.embedded import EmbeddedLiveState
from onnxmesh.live.redis_url import open_redis
from onnxmesh.live.topic_document import ReceivedEntry, decode_document, encode_document

EXCHANGE_PERIOD_S = 0.5
"""Time between two exchanges with Redis, and so the longest delay of entries of other processes."""

TIMEOUT_S = 0.5
"""Longest time for one reply of Redis; a slower one counts as unavailable."""

MAX_PENDING = 10_000
"""Most sessions that wait to be written; beyond, the oldest is not written."""

MAX_LOOKUPS = 1000
"""Most session lookups that wait; beyond, a request uses what this process knows."""

_CLOSE_S = 0.2

_FAILURES = (RedisError, OSError, TimeoutError)

_log = structlog.get_logger(__name__)


class RedisLiveState:
    """The `LiveState` of a mesh with a Redis; `run` must run beside it.

    Each process keeps its entries in its own memory, and `run` exchanges them with Redis in the background: one
    document for each topic and process, which expires with the last entry in it (`topic_document`).

    Args:
        url: See `open_redis`.
        own: Entries of this process, and all there is while Redis is unavailable.
        prefix: Prefix of every key, so that several meshes can share a Redis.
        period_s: Time between two exchanges.
        timeout_s: Longest time for one reply of Redis.
        clock: Seconds, monotonic; the one of `own`.

    Raises:
        InvalidRequest: The URL is malformed (INVALID_ARGUMENT).
    """

    def __init__(
        self,
        url: str,
        own: EmbeddedLiveState,
        *,
        prefix: str = "onnxmesh",
        period_s: float = EXCHANGE_PERIOD_S,
        timeout_s: float = TIMEOUT_S,
        clock: Clock = monotonic,
    ) -> None:
        self._connection = open_redis(url, timeout_s)
        self._client = self._connection.client
        self._own = own
        self._prefix = prefix
        self._period_s = period_s
        self._lookups: asyncio.Queue[tuple[str, asyncio.Future[str | None]]] = asyncio.Queue(MAX_LOOKUPS)
        self._clock = clock
        self._changed: set[Topic] = set()
        self._pending: dict[str, tuple[str | None, float]] = {}
        self._received: dict[Topic, list[ReceivedEntry]] = {topic: [] for topic in Topic}
        self._shared = False
        self._logged_lost: bool | None = None
        """Whether the last log event about Redis was its loss; None: there was none yet."""

    @property
    def is_shared(self) -> bool:
        """Whether entries of other processes are being received; False: this process sees its own only."""
        return self._shared

    def publish(self, topic: Topic, key: str, values: Values, ttl_s: float) -> None:
        """Publishes an entry, replacing this process's own of that key; it expires after `ttl_s`."""
        self._own.publish(topic, key, values, ttl_s)
        self._changed.add(topic)

    def withdraw(self, topic: Topic, key: str) -> None:
        """Removes this process's entry of a key."""
        self._own.withdraw(topic, key)
        self._changed.add(topic)

    def entries(self, topic: Topic) -> Mapping[str, tuple[LiveEntry, ...]]:
        """Returns the unexpired entries by key; for each key the newest first."""
        now_s = self._clock()
        found = {key: list(entries) for key, entries in self._own.entries(topic).items()}
        for each in self._received[topic]:
            if each.expires_s > now_s:
                entry = LiveEntry(each.writer, each.key, now_s - each.published_s, each.values)
                found.setdefault(each.key, []).append(entry)
        return {key: tuple(sorted(entries, key=lambda each: each.age_s)) for key, entries in found.items()}

    def set_session(self, session: str, place: str, ttl_s: float) -> None:
        """Records where a session is served; it expires after `ttl_s`, even if this process has ended by then."""
        self._own.set_session(session, place, ttl_s)
        self._write_later(session, place, ttl_s)

    def remove_session(self, session: str) -> None:
        """Removes a session."""
        self._own.remove_session(session)
        self._write_later(session, None, 0.0)

    def local_session(self, session: str) -> str | None:
        """Returns where a session is served, as far as this process knows; does not wait."""
        return self._own.local_session(session)

    async def find_session(self, session: str) -> str | None:
        """Returns where a session is served, as far as that can be found within `FIND_SESSION_S`."""
        if self._shared and session not in self._pending and not self._lookups.full():
            answer: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
            self._lookups.put_nowait((session, answer))
            try:
                async with asyncio.timeout(FIND_SESSION_S):
                    return await answer
            except _FAILURES:
                self._shared = False  # until an exchange has succeeded again, no request waits
        return self._own.local_session(session)

    async def run(self) -> None:
        """Exchanges with Redis until it is cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._keep_exchanging())
                group.create_task(self._serve_lookups())
        finally:
            with suppress(*_FAILURES):
                async with asyncio.timeout(_CLOSE_S):
                    await self._connection.aclose()

    async def _keep_exchanging(self) -> None:
        while True:
            async for attempt in stamina.retry_context(
                on=_FAILURES,
                attempts=None,
                timeout=None,
                wait_initial=self._period_s,
                wait_max=4 * self._period_s,
                wait_jitter=self._period_s / 5,
            ):
                with attempt:
                    await self._try()
            _end_if_cancelled()
            await asyncio.sleep(self._period_s)

    async def _serve_lookups(self) -> None:
        """Looks up sessions, pipelining the lookups that wait at the same time.

        A request waits for this task's future, not for Redis: one that gives up leaves no exchange half done.
        """
        while True:
            lookups = [await self._lookups.get()]
            while not self._lookups.empty():
                lookups.append(self._lookups.get_nowait())
            commands = self._client.pipeline(transaction=False)
            for session, _ in lookups:
                commands.get(self._session_key(session))
            places: list[Any] = []
            error: Exception | None = None
            try:
                places = await commands.execute()
            except _FAILURES as raised:
                error = raised
            _end_if_cancelled()
            for index, (_, answer) in enumerate(lookups):
                if answer.done():
                    continue
                if error is not None:
                    answer.set_exception(error)
                else:
                    answer.set_result(None if places[index] is None else places[index].decode())

    async def _try(self) -> None:
        try:
            await self._exchange()
        except _FAILURES as error:
            self._on_lost(error)
            raise
        if self._logged_lost is not False:
            _log.info("redis_found")
        self._shared = True
        self._logged_lost = False

    def _on_lost(self, error: Exception) -> None:
        if not self._logged_lost:
            _log.warning("redis_lost", error=repr(error))
        self._shared = False
        self._logged_lost = True
        # Redis may have lost what was written before, so every topic is written again.
        self._changed.update(Topic)

    async def _exchange(self) -> None:
        changed, self._changed = self._changed, set()
        sessions = dict(self._pending)
        commands = self._client.pipeline(transaction=False)
        for topic in sorted(changed, key=lambda each: each.value):
            self._write(commands, topic)
        now_s = self._clock()
        for session, (place, expires_s) in sessions.items():
            left_ms = round(1000 * (expires_s - now_s))
            if place is not None and left_ms > 0:
                commands.set(self._session_key(session), place, px=left_ms)
            else:
                commands.delete(self._session_key(session))
        topics = list(Topic)
        for topic in topics:
            if self._own.has_entries(topic):
                # At each exchange: a reader that found no document a moment ago may have removed this writer.
                commands.sadd(self._writers_key(topic), self._own.writer)
        for topic in topics:
            commands.smembers(self._writers_key(topic))
        answers = await commands.execute()
        for session, written in sessions.items():
            if self._pending.get(session) == written:
                del self._pending[session]
        await self._read(dict(zip(topics, answers[-len(topics) :], strict=True)))

    def _write(self, commands: Any, topic: Topic) -> None:
        document, left_ms = encode_document(self._own.own_values(topic), self._clock())
        key = self._document_key(topic, self._own.writer)
        if left_ms <= 0:
            commands.delete(key)
            commands.srem(self._writers_key(topic), self._own.writer)
            return
        commands.set(key, document, px=left_ms)

    async def _read(self, writers: Mapping[Topic, set[bytes]]) -> None:
        others = [
            (topic, name)
            for topic, names in writers.items()
            for name in sorted(each.decode() for each in names)
            if name != self._own.writer
        ]
        received: dict[Topic, list[ReceivedEntry]] = {topic: [] for topic in Topic}
        if others:
            commands = self._client.pipeline(transaction=False)
            for topic, writer in others:
                commands.get(self._document_key(topic, writer))
                commands.pttl(self._document_key(topic, writer))
            answers = await commands.execute()
            ended = []
            for (topic, writer), document, left_ms in zip(others, answers[::2], answers[1::2], strict=True):
                if document is None or left_ms < 0:
                    ended.append((self._writers_key(topic), writer))
                else:
                    received[topic] += decode_document(writer, document, left_ms, self._clock())
            if ended:
                commands = self._client.pipeline(transaction=False)
                for key, writer in ended:
                    commands.srem(key, writer)
                await commands.execute()
        self._received = received

    def _write_later(self, session: str, place: str | None, ttl_s: float) -> None:
        self._pending.pop(session, None)
        self._pending[session] = (place, self._clock() + ttl_s)
        if len(self._pending) > MAX_PENDING:
            del self._pending[next(iter(self._pending))]

    def _document_key(self, topic: Topic, writer: str) -> str:
        return f"{self._prefix}:{topic.value}:by:{writer}"

    def _writers_key(self, topic: Topic) -> str:
        return f"{self._prefix}:{topic.value}:writers"

    def _session_key(self, session: str) -> str:
        return f"{self._prefix}:session:{session}"


def _end_if_cancelled() -> None:
    """Raises a pending cancellation: up to Python 3.11 `wait_for` in the Redis client may swallow it."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
