"""The fleet: all registered workers."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Mapping
from time import monotonic
from typing import Any, TypeVar

import structlog

from onnxmesh.deadline import Clock
from onnxmesh.discovery.base import Directory
from onnxmesh.discovery.instance import Instance
from onnxmesh.error_text import did_you_mean, listed
from onnxmesh.errors import NotFound, Unavailable
from onnxmesh.ids import StageKey, WorkerId
from onnxmesh.routing.network import MeasuredLink
from services.scheduler.fleet.command_stream import CommandStream
from services.scheduler.workers.holdings import Held
from services.scheduler.workers.worker_view import WorkerView, coarse_wait_s

T = TypeVar("T")

_log = structlog.get_logger(__name__)


class Fleet:
    """Holds a `CommandStream` to every registered worker. For one event loop.

    Args:
        directory: The instances that are registered.
        term: Sent with every command.
        clock: Seconds, monotonic.
    """

    def __init__(self, directory: Directory, term: int, clock: Clock = monotonic) -> None:
        self._directory = directory
        self._term = term
        self._clock = clock
        self._streams: dict[WorkerId, CommandStream] = {}
        self._num_commands: Counter[str] = Counter()
        self._on_change: Callable[[], None] = lambda: None

    @property
    def streams(self) -> Mapping[WorkerId, CommandStream]:
        """The stream to every registered worker, by id."""
        return self._streams

    @property
    def num_commands(self) -> Mapping[str, int]:
        """Commands sent to workers, by kind. May be read from any thread."""
        return dict(self._num_commands)

    def on_change(self, callback: Callable[[], None]) -> None:
        """Sets the callback that is called, in the same loop iteration, when workers or what they hold change."""
        self._on_change = callback

    def candidates(self) -> list[Instance]:
        """Returns the workers that stages may be placed on."""
        return [
            stream.instance for stream in self._streams.values() if not (stream.draining or stream.leaving)
        ]

    def views(self) -> list[WorkerView]:
        """Returns the workers that accept commands, with what they hold."""
        return [
            _view(id_, stream)
            for id_, stream in self._streams.items()
            if stream.connected and not stream.draining
        ]

    def stream(self, worker: WorkerId) -> CommandStream:
        """Returns the stream to a worker.

        Raises:
            NotFound: It is not in the mesh; the message names the workers that are (NOT_FOUND).
        """
        stream = self._streams.get(worker)
        if stream is None:
            workers = sorted(self._streams)
            raise NotFound(
                f"worker '{worker}' is not in the mesh: its workers are {listed(workers)}"
                f"{did_you_mean(worker, workers)}"
            )
        return stream

    def holdings(self) -> dict[WorkerId, dict[StageKey, Held]]:
        """Returns what each registered worker holds."""
        return {id_: stream.holdings.stages for id_, stream in self._streams.items()}

    def remove_failures(self, desired: Collection[StageKey]) -> None:
        """Removes failures of stages that are not desired any more."""
        for stream in self._streams.values():
            stream.holdings.remove_failures(desired)

    async def run(self) -> None:
        """Follows the directory until it is cancelled."""
        revision = 0
        tasks: dict[WorkerId, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as group:
            while True:
                revision, instances = await self._directory.after(revision)
                for id_ in self._update(instances):
                    if id_ in tasks:
                        tasks.pop(id_).cancel()
                    if id_ in self._streams:
                        tasks[id_] = group.create_task(self._streams[id_].run())

    async def while_present(self, worker: Instance, work: Coroutine[Any, Any, T]) -> T:
        """Runs `work`, unless the worker leaves the mesh first.

        Raises:
            Unavailable: The worker has left (UNAVAILABLE); `work` was cancelled.
        """
        stream = self._streams.get(WorkerId(worker.id))
        task = asyncio.ensure_future(work)
        if stream is None or not _same_process(stream.instance, worker):
            task.cancel()
            await asyncio.wait([task])
            raise Unavailable(f"worker '{worker.id}' has left the mesh")
        leaving = asyncio.ensure_future(stream.deregistered.wait())
        try:
            await asyncio.wait([task, leaving], return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise Unavailable(f"worker '{worker.id}' left the mesh")
            return await task
        finally:
            for each in (task, leaving):
                each.cancel()
            await asyncio.wait([task, leaving])

    def _update(self, instances: Mapping[str, Instance]) -> list[WorkerId]:
        """Adds new workers and removes those that left or were restarted; returns the ids whose stream changed."""
        workers = {WorkerId(id_): each for id_, each in instances.items() if each.role == "worker"}
        changed = []
        described = False
        for id_, stream in list(self._streams.items()):
            now = workers.get(id_)
            if now is not None and now != stream.instance and _same_process(now, stream.instance):
                # It reports new attributes, such as its measured speed: what it holds, and the stream, stay.
                stream.instance = now
                described = True
            elif now != stream.instance:
                stream.deregister()
                del self._streams[id_]
                changed.append(id_)
                _log.info("worker_left", worker=id_, generation=stream.instance.generation)
        for id_, instance in workers.items():
            if id_ not in self._streams:
                self._streams[id_] = CommandStream(
                    instance,
                    self._term,
                    self._changed,
                    clock=self._clock,
                    num_commands=self._num_commands,
                )
                changed.append(id_)
        if changed or described:
            self._changed()
        return list(dict.fromkeys(changed))

    def _changed(self) -> None:
        self._on_change()


def _same_process(left: Instance, right: Instance) -> bool:
    return (left.id, left.address, left.generation) == (right.id, right.address, right.generation)


def _view(id_: WorkerId, stream: CommandStream) -> WorkerView:
    return WorkerView(
        id_,
        frozenset(stream.instance.tags),
        stream.instance.attributes,
        stream.holdings.stages,
        leaving=stream.leaving,
        since_s=stream.since_s,
        wait_s=coarse_wait_s(stream.load.expected_wait_us / 1e6),
        links={
            measured.node: MeasuredLink(measured.round_trip_us / 1e6, measured.bytes_per_s or None)
            for measured in stream.load.links
            if measured.round_trip_us
        },
    )
