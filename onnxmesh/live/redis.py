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
from onnxmesh.live.base import RECALL_S, Figure, Topic, Values
from onnxmesh.live.embedded import OwnLiveState
from onnxmesh.live.figure_document import ReceivedFigures, document_of, received_figures
from onnxmesh.live.redis_url import open_redis

PERIOD_S = 0.5
"""Time between two exchanges with Redis: how much older than they could be others' figures are at the most."""

TIMEOUT_S = 0.5
"""The longest for one answer of Redis; one that is slower is as good as away."""

MAX_PENDING = 10_000
"""Sessions whose place is still to be written; beyond, the oldest is not written."""

MAX_QUESTIONS = 1000
"""Sessions that may be looked up at a time; beyond, a request goes by this process's own view."""

_CLOSE_S = 0.2

_FAILURES = (RedisError, OSError, TimeoutError)

_log = structlog.get_logger(__name__)


class RedisLiveState:
    """The `LiveState` of a mesh with a Redis; `run` must run beside it.

    Each process keeps what it says in its own memory, and `run` exchanges it with Redis in the background: one
    document for each topic and process, which expires with the last figure in it (`figure_document`).

    Args:
        url: See `open_redis`.
        own: What this process says, and all there is while Redis is away.
        prefix: Begins every key, so that several meshes can share a Redis.
        period_s: Time between two exchanges.
        timeout_s: The longest for one answer of Redis.
        clock: Seconds, monotonic; the one of `own`.

    Raises:
        InvalidRequest: It is no URL of a Redis (INVALID_ARGUMENT).
    """

    def __init__(
        self,
        url: str,
        own: OwnLiveState,
        *,
        prefix: str = "onnxmesh",
        period_s: float = PERIOD_S,
        timeout_s: float = TIMEOUT_S,
        clock: Clock = monotonic,
    ) -> None:
        self._connection = open_redis(url, timeout_s)
        self._client = self._connection.client
        self._own = own
        self._prefix = prefix
        self._period_s = period_s
        self._questions: asyncio.Queue[tuple[str, asyncio.Future[str | None]]] = asyncio.Queue(MAX_QUESTIONS)
        self._clock = clock
        self._changed: set[Topic] = set()
        self._pending: dict[str, tuple[str | None, float]] = {}
        self._heard: dict[Topic, list[ReceivedFigures]] = {topic: [] for topic in Topic}
        self._shared = False
        self._reported: bool | None = None
        """Whether the log has it last that Redis was lost; None: it has nothing of it yet."""

    @property
    def shared(self) -> bool:
        """Whether others' figures are being seen; False: this is this process's own view."""
        return self._shared

    def publish(self, topic: Topic, key: str, values: Values, ttl_s: float) -> None:
        """Says something, in place of what this process said about it before; it is forgotten after `ttl_s`."""
        self._own.publish(topic, key, values, ttl_s)
        self._changed.add(topic)

    def withdraw(self, topic: Topic, key: str) -> None:
        """Takes back what this process said about something."""
        self._own.withdraw(topic, key)
        self._changed.add(topic)

    def figures(self, topic: Topic) -> Mapping[str, tuple[Figure, ...]]:
        """Returns what has not expired, by key; what was said last comes first."""
        now_s = self._clock()
        found = {key: list(figures) for key, figures in self._own.figures(topic).items()}
        for each in self._heard[topic]:
            if each.expires_s > now_s:
                figure = Figure(each.writer, each.key, now_s - each.said_s, each.values)
                found.setdefault(each.key, []).append(figure)
        return {key: tuple(sorted(figures, key=lambda each: each.age_s)) for key, figures in found.items()}

    def remember(self, session: str, place: str, ttl_s: float) -> None:
        """Says where a session's state is; it is forgotten after `ttl_s`, also if this process is gone by then."""
        self._own.remember(session, place, ttl_s)
        self._write_later(session, place, ttl_s)

    def forget(self, session: str) -> None:
        """Says that a session has ended."""
        self._own.forget(session)
        self._write_later(session, None, 0.0)

    def known(self, session: str) -> str | None:
        """Returns where a session's state is, as far as this process knows, at once."""
        return self._own.known(session)

    async def recall(self, session: str) -> str | None:
        """Returns where a session's state is, as far as can be known in `RECALL_S`."""
        if self._shared and session not in self._pending and not self._questions.full():
            answer: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
            self._questions.put_nowait((session, answer))
            try:
                async with asyncio.timeout(RECALL_S):
                    return await answer
            except _FAILURES:
                self._shared = False  # until an exchange has worked again, no request waits
        return self._own.known(session)

    async def run(self) -> None:
        """Exchanges with Redis until it is cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._keep_exchanging())
                group.create_task(self._answer())
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

    async def _answer(self) -> None:
        """Looks sessions up, those that were asked for at the same time together.

        Requests wait for it, and not for Redis: one that waits no longer leaves nothing half done behind.
        """
        while True:
            asked = [await self._questions.get()]
            while not self._questions.empty():
                asked.append(self._questions.get_nowait())
            commands = self._client.pipeline(transaction=False)
            for session, _ in asked:
                commands.get(self._session_key(session))
            places: list[Any] = []
            error: Exception | None = None
            try:
                places = await commands.execute()
            except _FAILURES as raised:
                error = raised
            _end_if_cancelled()
            for index, (_, answer) in enumerate(asked):
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
            self._lost(error)
            raise
        if self._reported is not False:
            _log.info("redis_found")
        self._shared = True
        self._reported = False

    def _lost(self, error: Exception) -> None:
        if not self._reported:
            _log.warning("redis_lost", error=repr(error))
        self._shared = False
        self._reported = True
        # What was written under a Redis that has lost it since is to be written again.
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
            if self._own.says(topic):
                # Again each time: a reader that saw nothing a moment ago may have struck this process off.
                commands.sadd(self._writers_key(topic), self._own.writer)
        for topic in topics:
            commands.smembers(self._writers_key(topic))
        answers = await commands.execute()
        for session, written in sessions.items():
            if self._pending.get(session) == written:
                del self._pending[session]
        await self._read(dict(zip(topics, answers[-len(topics) :], strict=True)))

    def _write(self, commands: Any, topic: Topic) -> None:
        document, left_ms = document_of(self._own.entries(topic), self._clock())
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
        heard: dict[Topic, list[ReceivedFigures]] = {topic: [] for topic in Topic}
        if others:
            commands = self._client.pipeline(transaction=False)
            for topic, writer in others:
                commands.get(self._document_key(topic, writer))
                commands.pttl(self._document_key(topic, writer))
            answers = await commands.execute()
            gone = []
            for (topic, writer), document, left_ms in zip(others, answers[::2], answers[1::2], strict=True):
                if document is None or left_ms < 0:
                    gone.append((self._writers_key(topic), writer))
                else:
                    heard[topic] += received_figures(writer, document, left_ms, self._clock())
            if gone:
                commands = self._client.pipeline(transaction=False)
                for key, writer in gone:
                    commands.srem(key, writer)
                await commands.execute()
        self._heard = heard

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
    """Ends this task if that was asked for: up to Python 3.11 the `wait_for` in Redis's client may swallow it."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
