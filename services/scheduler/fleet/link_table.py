"""The link table: measured links between kinds of workers, for plans."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic

import grpc.aio
import structlog

from onnxmesh.deadline import Clock
from onnxmesh.discovery.instance import Instance
from onnxmesh.errors import MeshError
from onnxmesh.live.base import LiveState
from onnxmesh.live.link_topic import LinkCodec, SharedLink
from onnxmesh.live.shared_topic import SharedTopic
from onnxmesh.model.link import LinkSpec
from onnxmesh.rpc.grpc.channel import open_channel
from onnxmesh.rpc.grpc.status import from_rpc_error
from onnxmesh.v1.worker_pb2 import MeasuredLink, MeasureLinksRequest
from onnxmesh.v1.worker_pb2_grpc import WorkerControlStub
from services.scheduler.workers.worker_kinds import WorkerKind

FRESH_S = 300.0
"""Age in seconds after which a link is measured again."""

WAIT_S = 3.0
"""Longest that a plan waits for measurements; links that are missing then count as default links."""

Measure = Callable[[Instance, Sequence[str]], Awaitable[Sequence[MeasuredLink]]]
"""Makes a worker measure its links to others, by address; the answers are in the same order."""

_Process = tuple[str, int]

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Known:
    link: LinkSpec | None
    at_s: float


class LinkTable:
    """Measures links when a plan needs them, and keeps the measurements. For one event loop.

    One pair of workers stands for its two kinds, in each direction; two workers stand for one kind. What other processes
    have measured is not measured again.

    Args:
        measure: Makes a worker measure.
        live: Where measurements are shared; None: they are not.
        fresh_s: How long a measurement counts.
        wait_s: The longest that `links` takes.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        measure: Measure | None = None,
        *,
        live: LiveState | None = None,
        fresh_s: float = FRESH_S,
        wait_s: float = WAIT_S,
        clock: Clock = monotonic,
    ) -> None:
        self._measure = measure or measure_by_worker
        self._topic = None if live is None else SharedTopic(live, LinkCodec())
        self._fresh_s = fresh_s
        self._wait_s = wait_s
        self._clock = clock
        self._known: dict[tuple[_Process, _Process], _Known] = {}

    async def links(self, kinds: Sequence[WorkerKind]) -> dict[tuple[str, str], LinkSpec]:
        """Returns the links between kinds, by their names; those that could not be measured in time are left out."""
        now_s = self._clock()
        self._known = {
            pair: known for pair, known in self._known.items() if now_s - known.at_s < self._fresh_s
        } | self._shared_measurements(now_s)
        pairs = {
            (source.device.name, target.device.name): sample
            for source in kinds
            for target in kinds
            if (sample := _sample(source, target)) is not None
        }
        unmeasured: dict[_Process, list[tuple[Instance, Instance]]] = {}
        for sample in pairs.values():
            if _pair(sample) not in self._known:
                unmeasured.setdefault(_process(sample[0]), []).append(sample)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._wait_s), asyncio.TaskGroup() as group:
                for samples in unmeasured.values():
                    group.create_task(self._measure_from(samples))
        return {
            names: known.link
            for names, sample in pairs.items()
            if (known := self._known.get(_pair(sample))) is not None and known.link is not None
        }

    async def _measure_from(self, samples: list[tuple[Instance, Instance]]) -> None:
        """Makes one worker measure its links; a worker that cannot is no error."""
        source = samples[0][0]
        try:
            answers = await self._measure(source, [target.address for _, target in samples])
        except MeshError as error:
            _log.warning("links_not_measured", worker=source.id, error=error.message)
            return
        at_s = self._clock()
        for sample, answer in zip(samples, answers, strict=False):
            link = _link(answer)
            self._known[_pair(sample)] = _Known(link, at_s)
            if link is not None and self._topic is not None:
                self._topic.publish(_shared(sample, link), self._fresh_s)

    def _shared_measurements(self, now_s: float) -> dict[tuple[_Process, _Process], _Known]:
        """Returns what other processes have measured, the newest of each link."""
        found: dict[tuple[_Process, _Process], _Known] = {}
        if self._topic is None:
            return found
        for published in self._topic.received().values():
            for each in reversed(published):
                link = each.item
                if link.bytes_per_s is not None and each.age_s < self._fresh_s:
                    pair = (link.origin, link.origin_generation), (link.target, link.target_generation)
                    found[pair] = _Known(
                        LinkSpec(link.bytes_per_s, link.round_trip_s / 2), now_s - each.age_s
                    )
        return found


async def measure_by_worker(worker: Instance, addresses: Sequence[str]) -> Sequence[MeasuredLink]:
    """Makes a worker measure its links to others.

    Raises:
        MeshError: It does not answer, or cannot measure.
    """
    try:
        async with open_channel(worker.address) as channel:
            answer = await WorkerControlStub(channel).MeasureLinks(MeasureLinksRequest(addresses=addresses))
            return list(answer.links)
    except grpc.aio.AioRpcError as error:
        raise from_rpc_error(error) from error


def _link(answer: MeasuredLink) -> LinkSpec | None:
    """Returns a measured link; None where the other end could not be reached."""
    figures = (answer.bytes_per_s, answer.latency_s)
    if not all(map(math.isfinite, figures)) or answer.bytes_per_s <= 0:
        return None
    return LinkSpec(answer.bytes_per_s, max(0.0, answer.latency_s))


def _shared(sample: tuple[Instance, Instance], link: LinkSpec) -> SharedLink:
    source, target = sample
    round_trip_s = max(2 * link.latency_s, 1e-6)
    return SharedLink(
        source.id, target.id, source.generation, target.generation, round_trip_s, link.bytes_per_s
    )


def _sample(source: WorkerKind, target: WorkerKind) -> tuple[Instance, Instance] | None:
    """Returns the first worker of each kind; of one kind its first two, if it has them."""
    if source is target:
        return None if len(source.workers) < 2 else (source.workers[0], source.workers[1])
    return source.workers[0], target.workers[0]


def _pair(sample: tuple[Instance, Instance]) -> tuple[_Process, _Process]:
    return _process(sample[0]), _process(sample[1])


def _process(worker: Instance) -> _Process:
    return worker.id, worker.generation
