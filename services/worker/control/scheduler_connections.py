"""Connected schedulers and the events on their way to each."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from onnxmesh.errors import Conflict
from onnxmesh.v1.frame_pb2 import Load
from onnxmesh.v1.worker_pb2 import Draining, Leaving, WorkerEvent

MAX_EVENTS = 1024
"""Events that may wait for one scheduler; beyond, its stream is ended, and it may connect again."""

_log = structlog.get_logger(__name__)


class EventFeed:
    """Bounded queue of events for one scheduler."""

    def __init__(self) -> None:
        self._events: asyncio.Queue[WorkerEvent | None] = asyncio.Queue(MAX_EVENTS)
        self._ended = False

    def put(self, event: WorkerEvent) -> None:
        """Adds an event; on overflow the feed is emptied and ended."""
        if self._ended:
            return
        try:
            self._events.put_nowait(event)
        except asyncio.QueueFull:
            _log.warning("scheduler_too_slow", waiting=MAX_EVENTS)
            while not self._events.empty():
                self._events.get_nowait()
            self.end()

    def end(self) -> None:
        """Ends the feed after the events that are queued in it."""
        if self._ended:
            return
        self._ended = True
        if self._events.full():
            self._events.get_nowait()
        self._events.put_nowait(None)

    async def next(self) -> WorkerEvent | None:
        """Returns the next event; None at the end."""
        return await self._events.get()


class SchedulerConnections:
    """All connected schedulers: the leader and, around an election, the former leader.

    Events go to all of them. Commands are accepted from the newest term only.

    Attributes:
        leaving: Whether this worker is to be emptied.
    """

    def __init__(self) -> None:
        self._feeds: set[EventFeed] = set()
        self._epoch = 0
        self._draining = False
        self._closed = False
        self._none_connected = asyncio.Event()
        self._none_connected.set()
        self._some_connected = asyncio.Event()
        self.leaving = False

    @contextmanager
    def connect(self, first: WorkerEvent) -> Iterator[EventFeed]:
        """Yields the feed of a scheduler for as long as it is connected; `first` is its first event."""
        feed = EventFeed()
        feed.put(first)
        if self._draining:
            feed.put(WorkerEvent(draining=Draining()))
        if self._closed:
            feed.end()
        self._feeds.add(feed)
        self._none_connected.clear()
        self._some_connected.set()
        try:
            yield feed
        finally:
            self._feeds.discard(feed)
            if not self._feeds:
                self._some_connected.clear()
                self._none_connected.set()

    async def wait_connected(self) -> None:
        """Returns once a scheduler is connected."""
        await self._some_connected.wait()

    async def wait_disconnected(self) -> None:
        """Returns once no scheduler is connected."""
        await self._none_connected.wait()

    def check_epoch(self, epoch: int) -> None:
        """Checks the term of a command, and records it if it is newer.

        Raises:
            Conflict: A command of a newer term has been received (ALREADY_EXISTS).
        """
        if epoch < self._epoch:
            raise Conflict(f"the command is of epoch {epoch}; epoch {self._epoch} has begun")
        self._epoch = epoch

    def publish(self, event: WorkerEvent) -> None:
        """Sends an event to every scheduler."""
        for feed in list(self._feeds):
            feed.put(event)

    def publish_load(self, load: Load) -> None:
        """Sends the load to every scheduler."""
        self.publish(WorkerEvent(load=load))

    def publish_leaving(self, leaving: bool) -> None:
        """Sends whether this worker is to be emptied; later connections receive it with their first event."""
        self.leaving = leaving
        self.publish(WorkerEvent(leaving=Leaving(undone=not leaving)))

    def publish_draining(self) -> None:
        """Sends that this worker is about to stop, to every scheduler and to later connections."""
        self._draining = True
        self.publish(WorkerEvent(draining=Draining()))

    def close(self) -> None:
        """Ends every feed after the events that are queued in it."""
        self._closed = True
        for feed in list(self._feeds):
            feed.end()
