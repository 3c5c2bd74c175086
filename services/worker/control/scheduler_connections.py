"""The schedulers that are connected, and what each is told."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from onnxmesh.errors import Conflict
from onnxmesh.v1.frame_pb2 import Load
from onnxmesh.v1.worker_pb2 import Draining, Leaving, WorkerEvent

MAX_EVENTS = 1024
"""Events that may wait for one scheduler; it is hung up on when there are more, and may call again."""

_log = structlog.get_logger(__name__)


class EventFeed:
    """Events on their way to one scheduler."""

    def __init__(self) -> None:
        self._events: asyncio.Queue[WorkerEvent | None] = asyncio.Queue(MAX_EVENTS)
        self._ended = False

    def put(self, event: WorkerEvent) -> None:
        """Adds an event; one too many ends the feed."""
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
        """Ends the feed after what waits in it."""
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
    """Everyone who manages this worker: the one that leads and, around an election, one that led.

    Events go to all. Commands are obeyed from the newest term of office alone.
    """

    def __init__(self) -> None:
        self._feeds: set[EventFeed] = set()
        self._epoch = 0
        self._draining = False
        self._closed = False
        self._alone = asyncio.Event()
        self._alone.set()
        self.leaving = False
        """Whether this worker is to be emptied."""

    @contextmanager
    def connected(self, first: WorkerEvent) -> Iterator[EventFeed]:
        """Gives the feed of a scheduler for as long as it is connected; `first` is in it already."""
        feed = EventFeed()
        feed.put(first)
        if self._draining:
            feed.put(WorkerEvent(draining=Draining()))
        if self._closed:
            feed.end()
        self._feeds.add(feed)
        self._alone.clear()
        try:
            yield feed
        finally:
            self._feeds.discard(feed)
            if not self._feeds:
                self._alone.set()

    async def none_left(self) -> None:
        """Returns once nobody is connected."""
        await self._alone.wait()

    def check_epoch(self, epoch: int) -> None:
        """Takes note of a command's term of office.

        Raises:
            Conflict: A newer scheduler has commanded already (ALREADY_EXISTS).
        """
        if epoch < self._epoch:
            raise Conflict(f"the command is of epoch {epoch}; epoch {self._epoch} has begun")
        self._epoch = epoch

    def tell(self, event: WorkerEvent) -> None:
        """Tells everyone."""
        for feed in list(self._feeds):
            feed.put(event)

    def tell_load(self, load: Load) -> None:
        """Tells everyone the load."""
        self.tell(WorkerEvent(load=load))

    def tell_leaving(self, leaving: bool) -> None:
        """Tells everyone whether this worker is to be emptied; who connects from now on learns it at the start."""
        self.leaving = leaving
        self.tell(WorkerEvent(leaving=Leaving(undone=not leaving)))

    def tell_draining(self) -> None:
        """Tells everyone, and whoever connects from now on, that this worker is about to stop."""
        self._draining = True
        self.tell(WorkerEvent(draining=Draining()))

    def hang_up(self) -> None:
        """Ends every feed, after what waits in it."""
        self._closed = True
        for feed in list(self._feeds):
            feed.end()
