"""One attempt at a request: sent, awaited, and cancelled where it has no result."""

from __future__ import annotations

from collections.abc import Callable

from onnxmesh.deadline import Clock
from onnxmesh.errors import CorruptData, Unavailable
from onnxmesh.ids import WorkerId
from onnxmesh.priority import DEFAULT_PRIORITY
from onnxmesh.routing.balancer import Route
from onnxmesh.routing.table.routed_model import RoutedModel
from onnxmesh.rpc.frames.compressed_frames import is_compressed
from onnxmesh.rpc.frames.frame_tensors import read_tensors
from onnxmesh.rpc.frames.frames import Frame
from onnxmesh.rpc.link.compressor import Compressor
from onnxmesh.rpc.link_policy.credits import MIN_CREDITED_BYTES
from onnxmesh.v1 import frame_pb2
from services.gateway.dispatch.activation import activation_frames
from services.gateway.dispatch.credit_queue import CreditQueue
from services.gateway.requests.attempts import Attempt, AttemptFailure, AttemptResult, PendingAttempts
from services.gateway.requests.inference_request import InferenceRequest
from services.gateway.requests.worker_links import WorkerLinks
from services.gateway.routes.router import Router


class AttemptRunner:
    """Runs attempts. Belongs to one event loop.

    Args:
        attempts: Those that wait; the dispatcher settles them by the frames of workers.
        links: Streams to workers.
        router: Records outcomes.
        credit_queue: Grants credit of first stages.
        compressor: Compresses requests, and decompresses results, where a link is slow.
        clock: Seconds, monotonic.
        unix_ns: Nanoseconds of Unix time, for traces.
    """

    def __init__(
        self,
        attempts: PendingAttempts,
        links: WorkerLinks,
        router: Router,
        *,
        credit_queue: CreditQueue,
        compressor: Compressor,
        clock: Clock,
        unix_ns: Callable[[], int],
    ) -> None:
        self._attempts = attempts
        self._links = links
        self._router = router
        self._credit_queue = credit_queue
        self._compressor = compressor
        self._clock = clock
        self._unix_ns = unix_ns

    async def run(
        self, request: InferenceRequest, number: int, index: int, model: RoutedModel, route: Route
    ) -> AttemptResult | AttemptFailure:
        """Sends a request along a route and returns the outcome; closes the attempt whatever that is.

        Args:
            request: The request.
            number: Its number.
            index: Number of its earlier attempts.
            model: As it was when the route was picked.
            route: Picked since the last `await`, so that all its workers are connected.
        """
        links = tuple(link for replica in route if (link := self._links.get(replica.worker)) is not None)
        attempt = self._attempts.open(number, index, model.stages, route, links)
        ticket = self._router.begin(model, route)
        result: AttemptResult | None = None
        is_over = False
        try:
            remaining_s = request.deadline.remaining_s(self._clock)
            frames = activation_frames(request, attempt.key, model, route, remaining_s, self._unix_ns())
            # One after another: a later hop cannot run before an earlier one has its inputs.
            for hop, frame in frames:
                if attempt.outcome.done():
                    break
                try:
                    if hop == 0 and frame.payload_bytes >= MIN_CREDITED_BYTES:
                        await self._send_large(request, attempt, frame)
                    elif not links[hop].try_send(frame):
                        await links[hop].send(await self._compressor.compress(frame, links[hop]))
                except Unavailable as error:
                    return AttemptFailure(error=error, worker=route[hop].worker, retriable=True)
            outcome = await attempt.outcome
            if isinstance(outcome, AttemptResult):
                outcome = await self._decoded(outcome, route[-1].worker)
            self._router.record_outcome(outcome, route, model, ticket)
            result = outcome if isinstance(outcome, AttemptResult) else None
            # A worker that fails a request for good informs the other workers of the route, except for later hops where
            # inputs from the gateway wait.
            is_over = isinstance(outcome, AttemptResult) or not (outcome.retriable or model.inputs_by_hop)
            return outcome
        finally:
            self._attempts.close(attempt)
            self._router.end(ticket, () if result is None else result.frame.header.result.timings)
            if not is_over:
                self._cancel(attempt)

    async def _send_large(self, request: InferenceRequest, attempt: Attempt, frame: Frame) -> None:
        """Sends a first stage a frame that needs credit, once that is granted; not if the attempt ends before."""
        next_stage = (attempt.route[0].worker, attempt.stages[0].key)
        num_bytes = frame.payload_bytes
        urgency = (request.options.priority or DEFAULT_PRIORITY, request.deadline.at_s)
        credit = await self._credit_queue.acquire(next_stage, num_bytes, urgency, attempt.outcome)
        if credit is None:
            return
        frame.header.activation.credit = num_bytes
        sent = False
        try:
            await attempt.links[0].send(await self._compressor.compress(frame, attempt.links[0]))
            sent = True
        finally:
            if not sent:
                credit.give_back()

    async def _decoded(self, result: AttemptResult, worker: WorkerId) -> AttemptResult | AttemptFailure:
        """Returns a result with its tensors; a failure of its worker where the frame is corrupt."""
        frame = result.frame
        try:
            if is_compressed(frame):
                frame = await self._compressor.decompress(frame)
            tensors = read_tensors(frame.header.result, frame.payloads)
            return AttemptResult(frame, result.received_unix_ns, tensors)
        except CorruptData as error:
            return AttemptFailure(error=error, worker=worker, retriable=True, counts_against_replica=True)

    def _cancel(self, attempt: Attempt) -> None:
        header = frame_pb2.FrameHeader(cancel=frame_pb2.Cancel(key=attempt.key))
        for link in dict.fromkeys(attempt.links):
            link.send_soon(header)
