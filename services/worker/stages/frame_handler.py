"""Handles frames from peers: admits Activations to their stages, applies Cancels, passes on returned credit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from time import monotonic, time_ns

import structlog

from onnxmesh.deadline import Clock
from onnxmesh.ids import WorkerId
from onnxmesh.masking import masked
from onnxmesh.rpc.frames.compressed_frames import is_compressed
from onnxmesh.rpc.frames.frames import Frame
from onnxmesh.rpc.link.compressor import Compressor
from onnxmesh.rpc.link.link import Link
from onnxmesh.rpc.link_policy.credits import Credit
from onnxmesh.v1.frame_pb2 import Activation, FrameHeader
from onnxmesh.v1.frame_pb2 import Credit as CreditFrame
from services.worker.requests import request_flow
from services.worker.requests.cancellations import Cancellations
from services.worker.requests.request_flow import Drop, Proceed, Refuse
from services.worker.requests.request_key import RequestKey
from services.worker.requests.stage_request import StageRequest, read_request
from services.worker.stages.stage_table import StageTable
from services.worker.streams.gateway_replies import GatewayReplies

_log = structlog.get_logger(__name__)


class FrameHandler:
    """Handles each frame at once; never blocks and never raises, since a link's reader calls it.

    Args:
        worker: This worker.
        stages: The stages held.
        replies: Ends requests that are refused or dropped.
        cancellations: Cancelled attempts.
        on_credit: Called with credit that a peer returned on a link.
        clock: Seconds, monotonic.
        unix_ns: This host's clock.
        compressor: Decompresses Activations; None: a new one.

    Attributes:
        draining: Whether requests at their first hop are refused.
    """

    def __init__(
        self,
        worker: WorkerId,
        stages: StageTable,
        replies: GatewayReplies,
        *,
        cancellations: Cancellations,
        on_credit: Callable[[Link, CreditFrame], None] = lambda _, __: None,
        clock: Clock = monotonic,
        unix_ns: Callable[[], int] = time_ns,
        compressor: Compressor | None = None,
    ) -> None:
        self._worker = worker
        self._stages = stages
        self._replies = replies
        self._cancellations = cancellations
        self._on_credit = on_credit
        self._clock = clock
        self._unix_ns = unix_ns
        self._compressor = compressor or Compressor()
        self._decompressing: dict[asyncio.Task[Frame], RequestKey] = {}
        self.draining = False

    def on_frame(self, link: Link, frame: Frame) -> None:
        """Handles a frame from a peer; kinds that are for gateways are ignored."""
        kind = frame.header.WhichOneof("kind")
        if kind == "activation":
            credit = None
            if frame.header.activation.credit:
                credit = Credit(partial(link.send_soon, _credit_header(frame.header.activation)))
            self.on_activation(frame, credit)
        elif kind == "cancel":
            self.cancel(RequestKey.of(frame.header.cancel.key))
        elif kind == "credit":
            self._on_credit(link, frame.header.credit)

    def on_activation(self, frame: Frame, credit: Credit | None = None) -> None:
        """Reads an Activation, decompressing it first if need be, and submits its request.

        Args:
            frame: The Activation.
            credit: Credit of its sender; None: it took none.
        """
        key = RequestKey.of(frame.header.activation.key)
        if is_compressed(frame):
            # In no task group: its callback handles every outcome, and the link's reader must not fail.
            task = asyncio.ensure_future(self._compressor.decompress(frame))
            self._decompressing[task] = key
            task.add_done_callback(partial(self._on_decompressed, credit))
            return
        try:
            request = read_request(frame, self._clock(), self._unix_ns(), credit)
        except Exception as error:  # noqa: BLE001 - one frame's defect must not end the stream
            self._refuse(key, error)
            if credit is not None:
                credit.give_back()
        else:
            self.submit(request)

    def submit(self, request: StageRequest) -> None:
        """Submits a request to its stage: from a peer, or from another stage of this worker."""
        try:
            if self._admit(request):
                return
        except Exception as error:  # noqa: BLE001 - one request's defect must not end the stream
            self._refuse(request.key, error)
        request.return_credit()

    def cancel(self, key: RequestKey) -> None:
        """Cancels an attempt wherever it is on this worker, and if it arrives later."""
        self._cancellations.add(key)
        for runner in self._stages.runners():
            runner.cancel(key)

    def on_link_up(self, peer: str) -> None:
        """Drops the pending parts of a gateway that has a new link: it has failed all requests of the old one."""
        self._cancel_decompressing(peer)
        for runner in self._stages.runners():
            runner.drop_parts(peer)

    def on_peer_lost(self, peer: str) -> None:
        """Drops the queued requests of a gateway whose last link ended."""
        self._cancel_decompressing(peer)
        for runner in self._stages.runners():
            runner.drop_gateway(peer)

    def _on_decompressed(self, credit: Credit | None, task: asyncio.Task[Frame]) -> None:
        key = self._decompressing.pop(task)
        error = None if task.cancelled() else task.exception()
        if error is None and not task.cancelled():
            self.on_activation(task.result(), credit)
            return
        if credit is not None:
            credit.give_back()
        if error is None:
            self._replies.drop(key)
        elif isinstance(error, Exception):
            self._refuse(key, error)

    def _refuse(self, key: RequestKey, error: Exception) -> None:
        self._replies.refuse(key, masked(error, origin=key.origin, number=key.number))

    def _cancel_decompressing(self, origin: str) -> None:
        for task, key in self._decompressing.items():
            if key.origin == origin:
                task.cancel()

    def _admit(self, request: StageRequest) -> bool:
        """Returns whether the stage owns the request from now on."""
        held = self._stages.get(request.stage)
        decision = request_flow.admit(
            request,
            self._worker,
            None if held is None else held.phase,
            draining=self.draining,
            cancelled=request.key in self._cancellations,
            now_s=self._clock(),
        )
        match decision:
            case Proceed():
                assert held is not None and held.runner is not None
                held.runner.submit(request)
                return True
            case Drop():
                self._replies.drop(request.key)
            case Refuse(error):
                self._replies.refuse(request.key, error)
        return False


def _credit_header(activation: Activation) -> FrameHeader:
    """Returns the frame that returns an Activation's credit."""
    hops = activation.route.hops
    stage = hops[activation.hop].stage if activation.hop < len(hops) else ""
    return FrameHeader(credit=CreditFrame(stage=stage, credit=activation.credit))
