"""One attempt at a request: sent, waited for, cancelled."""

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
from services.gateway.requests.attempts import Attempt, AttemptFailure, AttemptResult, Attempts
from services.gateway.requests.inference_request import InferenceRequest
from services.gateway.requests.peers import Peers
from services.gateway.routes.router import Router


class AttemptRunner:
    """Carries attempts out. Belongs to one event loop.

    Args:
        attempts: Has those that wait; whoever hears what becomes of them says it there.
        credit_line: Has the room that is left at first stages.
        peers: Streams to workers.
        router: Is told what it is to learn.
        compressor: Writes requests, and reads answers, in fewer bytes where a way is slow.
        clock: Seconds, monotonic.
        unix_ns: Nanoseconds of Unix time, for traces.
    """

    def __init__(
        self,
        attempts: Attempts,
        credit_line: CreditQueue,
        peers: Peers,
        router: Router,
        compressor: Compressor,
        *,
        clock: Clock,
        unix_ns: Callable[[], int],
    ) -> None:
        self._attempts = attempts
        self._credit_line = credit_line
        self._peers = peers
        self._router = router
        self._compressor = compressor
        self._clock = clock
        self._unix_ns = unix_ns

    async def run(
        self, order: InferenceRequest, number: int, index: int, model: RoutedModel, route: Route
    ) -> AttemptResult | AttemptFailure:
        """Sends a request along a route and returns what came of it; whatever that is, nothing is left of the attempt here.

        Args:
            order: The request.
            number: Its number.
            index: Attempts of it before this one.
            model: As it was when the route was picked.
            route: Picked since something was last awaited.
        """
        # Nothing was awaited since the workers were picked as live.
        links = tuple(link for replica in route if (link := self._peers.get(replica.worker)) is not None)
        attempt = self._attempts.open(number, index, model.stages, route, links)
        ticket = self._router.begin(model, route)
        arrived: AttemptResult | None = None
        over = False
        try:
            remaining_s = order.deadline.remaining_s(self._clock)
            frames = activation_frames(order, attempt.key, model, route, remaining_s, self._unix_ns())
            # One after another: a later hop cannot run before an earlier one has what it needs.
            for hop, frame in frames:
                if attempt.outcome.done():
                    break
                try:
                    if hop == 0 and frame.payload_bytes >= MIN_CREDITED_BYTES:
                        await self._send_large(order, attempt, frame)
                    elif not links[hop].try_send(frame):
                        await links[hop].send(await self._compressor.compress(frame, links[hop]))
                except Unavailable as error:
                    return AttemptFailure(error, route[hop].worker, retriable=True)
            outcome = await attempt.outcome
            if isinstance(outcome, AttemptResult):
                outcome = await self._decoded(outcome, route[-1].worker)
            self._router.learn(outcome, route, model, ticket)
            arrived = outcome if isinstance(outcome, AttemptResult) else None
            # A worker that refused for good has told everyone whom it concerns, but not the later hops where
            # inputs wait for what will not come.
            over = isinstance(outcome, AttemptResult) or not (outcome.retriable or model.inputs_by_hop)
            return outcome
        finally:
            self._attempts.close(attempt)
            self._router.end(ticket, () if arrived is None else arrived.frame.header.result.timings)
            if not over:
                self._cancel(attempt)

    async def _send_large(self, order: InferenceRequest, attempt: Attempt, frame: Frame) -> None:
        """Sends an attempt's first stage what needs credit, once there is room; not if the attempt ends before."""
        first = (attempt.route[0].worker, attempt.stages[0].key)
        num_bytes = frame.payload_bytes
        urgency = (order.priority or DEFAULT_PRIORITY, order.deadline.at_s)
        credit = await self._credit_line.credit(first, num_bytes, urgency, attempt.outcome)
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
        """Returns a result with its tensors, a failure of its worker where the frame has none that can be read."""
        frame = result.frame
        try:
            if is_compressed(frame):
                frame = await self._compressor.decompress(frame)
            tensors = read_tensors(frame.header.result, frame.payloads)
            return AttemptResult(frame, result.at_unix_ns, tensors)
        except CorruptData as error:
            return AttemptFailure(error, worker, retriable=True, speaks_against=True)

    def _cancel(self, attempt: Attempt) -> None:
        header = frame_pb2.FrameHeader(cancel=frame_pb2.Cancel(key=attempt.key))
        for link in dict.fromkeys(attempt.links):
            link.send_soon(header)
