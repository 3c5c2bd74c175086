"""Attempts: routes tried for requests, their outcomes, and those that wait for one."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from onnxmesh.errors import CorruptData, Internal, MeshError, StageNotHeld, Unavailable, from_reason
from onnxmesh.ids import WorkerId
from onnxmesh.routing.balancer import Route
from onnxmesh.routing.table.routed_model import RoutedStage
from onnxmesh.rpc.frames.frames import Frame
from onnxmesh.tensors.tensor import Tensor
from onnxmesh.v1.frame_pb2 import Failure, RequestKey
from services.gateway.requests.worker_links import WorkerLink, WorkerLinks


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """The Result of an attempt.

    Attributes:
        frame: As it was received, or decompressed.
        received_unix_ns: When it was received, in nanoseconds of Unix time.
        tensors: The outputs, once they have been read from the frame.
    """

    frame: Frame
    received_unix_ns: int
    tensors: tuple[Tensor, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptFailure:
    """The end of an attempt without a result.

    Attributes:
        error: What happened.
        worker: The worker at fault.
        retriable: Whether another route may succeed.
        excludes_worker: Whether that worker is not to be used again for this request.
        counts_against_replica: Whether the balancer counts it as a failure of the replica: a stream that broke is none.
    """

    error: MeshError
    worker: WorkerId
    retriable: bool
    excludes_worker: bool = True
    counts_against_replica: bool = False

    @classmethod
    def from_proto(cls, failure: Failure, sender: WorkerId) -> AttemptFailure:
        """Returns the failure that a worker has reported; the sender is at fault unless it names another worker."""
        error = from_reason(failure.reason, failure.message, failure.retry_after_ms / 1e3 or None)
        # A full queue or an outdated route is no fault of the replica, nor is an error that the request itself caused.
        counts = isinstance(error, Unavailable | CorruptData | Internal) and not isinstance(
            error, StageNotHeld
        )
        return cls(
            error=error,
            worker=WorkerId(failure.worker) if failure.worker else sender,
            retriable=failure.retriable,
            counts_against_replica=counts,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Attempt:
    """One route tried for one request.

    Attributes:
        key: Identifies the attempt in the frames of workers.
        stages: The stages of the model.
        route: The replicas, one for each stage.
        links: The streams to them, in the same order.
        outcome: Done once the outcome is known; set by `PendingAttempts`.
    """

    key: RequestKey
    stages: Sequence[RoutedStage]
    route: Route
    links: tuple[WorkerLink, ...]
    outcome: asyncio.Future[AttemptResult | AttemptFailure]


class PendingAttempts:
    """Every attempt of one gateway that waits for its outcome, at most one for each request.

    The caller that opens an attempt closes it, whatever its outcome.

    Args:
        origin: Id of this gateway.
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
        index: int,
        stages: Sequence[RoutedStage],
        route: Route,
        links: tuple[WorkerLink, ...],
    ) -> Attempt:
        """Adds an attempt; the previous one of the same request must be closed.

        Args:
            number: Number of the request.
            index: Number of earlier attempts of the request.
            stages: The stages of the model.
            route: One replica for each stage.
            links: The streams to them.
        """
        assert number not in self._by_number
        key = RequestKey(origin=self._origin, number=number, attempt=index)
        attempt = Attempt(key, stages, route, links, asyncio.get_running_loop().create_future())
        self._by_number[number] = attempt
        for replica in route:
            self._by_worker[replica.worker][number] = attempt
        return attempt

    def close(self, attempt: Attempt) -> None:
        """Removes an attempt; later frames with its key are dropped."""
        number = attempt.key.number
        del self._by_number[number]
        for worker in {replica.worker for replica in attempt.route}:
            numbers = self._by_worker[worker]
            del numbers[number]
            if not numbers:
                del self._by_worker[worker]

    def settle(self, key: RequestKey, outcome: AttemptResult | AttemptFailure) -> bool:
        """Sets the outcome of the attempt that `key` identifies; returns False if there is no such attempt."""
        attempt = self._by_number.get(key.number)
        if attempt is None or key.attempt != attempt.key.attempt or key.origin != self._origin:
            return False
        return _settle(attempt, outcome)

    def fail_worker(self, worker: WorkerId, error: MeshError) -> int:
        """Fails, retriably, every attempt whose route includes `worker`; returns how many."""
        failure = AttemptFailure(error=error, worker=worker, retriable=True)
        return sum(_settle(attempt, failure) for attempt in self._on(worker))

    def fail_link(self, worker: WorkerId, link: WorkerLink, error: MeshError) -> int:
        """Fails, retriably, every attempt that uses this very stream: a newer one may be open; returns how many."""
        failure = AttemptFailure(error=error, worker=worker, retriable=True)
        return sum(_settle(attempt, failure) for attempt in self._on(worker) if link in attempt.links)

    def reroute(
        self, worker: WorkerId, link: WorkerLink, error: MeshError, may: Callable[[Attempt], bool]
    ) -> int:
        """Fails, to be tried again, the attempts that use a stream and that `may` be rerouted; returns how many.

        The worker is not excluded: it may be used again.
        """
        failure = AttemptFailure(error=error, worker=worker, retriable=True, excludes_worker=False)
        return sum(
            _settle(attempt, failure)
            for attempt in self._on(worker)
            if link in attempt.links and may(attempt)
        )

    def count_on(self, worker: WorkerId) -> int:
        """Returns the number of attempts whose route includes `worker`."""
        return len(self._by_worker.get(worker, ()))

    def _on(self, worker: WorkerId) -> Collection[Attempt]:
        return self._by_worker.get(worker, {}).values()


def may_reroute(attempt: Attempt, worker: WorkerId, links: WorkerLinks, max_attempts: int) -> bool:
    """Whether an attempt on a suspected worker is worth trying again on another route.

    The last attempt of a request keeps waiting, and so does one of whose stage no other worker is connected and
    unsuspected: a suspected worker may still answer.
    """
    if attempt.key.attempt + 1 >= max_attempts:
        return False
    held = (
        stage
        for stage, replica in zip(attempt.stages, attempt.route, strict=True)
        if replica.worker == worker
    )
    return all(
        any(
            (link := links.get(replica.worker)) is not None and not link.is_suspect
            for replica in stage.replicas
        )
        for stage in held
    )


def _settle(attempt: Attempt, outcome: AttemptResult | AttemptFailure) -> bool:
    if attempt.outcome.done():
        return False
    attempt.outcome.set_result(outcome)
    return True
