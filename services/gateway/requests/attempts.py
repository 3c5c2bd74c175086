"""The attempts that wait for an answer."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from onnxmesh.errors import CorruptData, Internal, MeshError, StageGone, Unavailable, from_reason
from onnxmesh.ids import WorkerId
from onnxmesh.routing.balancer import Route
from onnxmesh.routing.table.routed_model import RoutedStage
from onnxmesh.rpc.frames.frames import Frame
from onnxmesh.tensors.tensor import Tensor
from onnxmesh.v1.frame_pb2 import Failure, RequestKey
from services.gateway.requests.peers import Peer


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """The Result of an attempt.

    Attributes:
        frame: As it was received, or decompressed.
        at_unix_ns: When it was received, in nanoseconds of Unix time.
        tensors: The outputs, once they have been read from the frame.
    """

    frame: Frame
    at_unix_ns: int
    tensors: tuple[Tensor, ...] = ()


@dataclass(frozen=True, slots=True)
class AttemptFailure:
    """The end of an attempt without an answer.

    Attributes:
        error: What happened.
        worker: Who is at fault.
        retriable: Whether another route may succeed.
        excludes: Whether that worker is out of the question for this request from now on.
        speaks_against: Whether it speaks against that replica: a stream that broke says nothing of the next one.
    """

    error: MeshError
    worker: WorkerId
    retriable: bool
    excludes: bool = True
    speaks_against: bool = False

    @classmethod
    def of(cls, failure: Failure, speaker: WorkerId) -> AttemptFailure:
        """Reads what a worker said."""
        error = from_reason(failure.reason, failure.message, failure.retry_after_ms / 1e3 or None)
        at_fault = WorkerId(failure.worker) if failure.worker else speaker
        # A full queue or an outdated route is no fault, and what the request itself brought about is none of the worker's.
        speaks_against = isinstance(error, Unavailable | CorruptData | Internal) and not isinstance(
            error, StageGone
        )
        return cls(error, at_fault, failure.retriable, speaks_against=speaks_against)


@dataclass(frozen=True, slots=True, eq=False)
class Attempt:
    """One route tried for one request.

    Attributes:
        key: What its answers carry.
        stages: The stages that it runs.
        route: The replicas that it runs on.
        links: The streams to them that it relies on, in the same order.
        outcome: Done once something is known; belongs to `Attempts`.
    """

    key: RequestKey
    stages: Sequence[RoutedStage]
    route: Route
    links: tuple[Peer, ...]
    outcome: asyncio.Future[AttemptResult | AttemptFailure]


class Attempts:
    """Every attempt of one gateway that waits for its outcome, at most one for each request.

    Whoever opens an attempt closes it, whatever happens; then nothing is left of it here.

    Args:
        origin: This gateway's id.
    """

    def __init__(self, origin: str) -> None:
        self._origin = origin
        self._by_number: dict[int, Attempt] = {}
        self._by_worker: defaultdict[WorkerId, dict[int, Attempt]] = defaultdict(dict)

    def __len__(self) -> int:
        return len(self._by_number)

    def open(
        self,
        number: int,
        attempt: int,
        stages: Sequence[RoutedStage],
        route: Route,
        links: tuple[Peer, ...],
    ) -> Attempt:
        """Enters an attempt; the one before of the same request must be closed."""
        assert number not in self._by_number
        key = RequestKey(origin=self._origin, number=number, attempt=attempt)
        entry = Attempt(key, stages, route, links, asyncio.get_running_loop().create_future())
        self._by_number[number] = entry
        for replica in route:
            self._by_worker[replica.worker][number] = entry
        return entry

    def close(self, entry: Attempt) -> None:
        """Forgets an attempt; answers to it are dropped from now on."""
        number = entry.key.number
        del self._by_number[number]
        for worker in {replica.worker for replica in entry.route}:
            numbers = self._by_worker[worker]
            del numbers[number]
            if not numbers:
                del self._by_worker[worker]

    def settle(self, key: RequestKey, outcome: AttemptResult | AttemptFailure) -> bool:
        """Gives the attempt that `key` names its outcome; False if it is stale or not ours."""
        entry = self._by_number.get(key.number)
        if entry is None or key.attempt != entry.key.attempt or key.origin != self._origin:
            return False
        return _settle(entry, outcome)

    def fail_worker(self, worker: WorkerId, error: MeshError) -> int:
        """Fails, retriably, every attempt whose route includes `worker`; returns how many."""
        failure = AttemptFailure(error, worker, retriable=True)
        return sum(_settle(entry, failure) for entry in self._on(worker))

    def fail_link(self, worker: WorkerId, link: Peer, error: MeshError) -> int:
        """The same for the attempts that rely on this very stream; a newer one may be open already."""
        failure = AttemptFailure(error, worker, retriable=True)
        return sum(_settle(entry, failure) for entry in self._on(worker) if link in entry.links)

    def move(self, worker: WorkerId, link: Peer, error: MeshError, may: Callable[[Attempt], bool]) -> int:
        """Ends, to be tried again, those of the attempts that rely on a stream which `may` move; returns how many."""
        failure = AttemptFailure(error, worker, retriable=True, excludes=False)
        return sum(
            _settle(entry, failure) for entry in self._on(worker) if link in entry.links and may(entry)
        )

    def count_on(self, worker: WorkerId) -> int:
        """Attempts whose route includes `worker`."""
        return len(self._by_worker.get(worker, ()))

    def _on(self, worker: WorkerId) -> Collection[Attempt]:
        return self._by_worker.get(worker, {}).values()


def _settle(entry: Attempt, outcome: AttemptResult | AttemptFailure) -> bool:
    if entry.outcome.done():
        return False
    entry.outcome.set_result(outcome)
    return True
