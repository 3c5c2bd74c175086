"""Frames that come to this worker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from time import monotonic, time_ns

import structlog

from onnxmesh.deadline import Clock
from onnxmesh.errors import MeshError
from onnxmesh.ids import WorkerId
from onnxmesh.rpc.frames.compressed_frames import is_compressed
from onnxmesh.rpc.frames.frames import Frame
from onnxmesh.rpc.link.compressor import Compressor
from onnxmesh.rpc.link.link import Link
from onnxmesh.rpc.link_policy.credits import Credit
from onnxmesh.telemetry.masking import masked
from onnxmesh.v1.frame_pb2 import Activation, FrameHeader
from onnxmesh.v1.frame_pb2 import Credit as CreditFrame
from services.worker.requests import request_flow
from services.worker.requests.cancellations import Cancellations
from services.worker.requests.request_counters import RequestCounters
from services.worker.requests.request_flow import Drop, Proceed, Refuse
from services.worker.requests.request_key import RequestKey
from services.worker.requests.stage_request import StageRequest, read_request
from services.worker.stages.stage_table import StageTable
from services.worker.streams.gateway_replies import GatewayReplies

_log = structlog.get_logger(__name__)


class Intake:
    """Brings each frame to what it is for. Never blocks and never raises: a link's reader calls it.

    Args:
        worker: This worker.
        stages: What it holds.
        origins: Who is told of what is refused.
        cancellations: Requests that were given up.
        tally: Where it counts what becomes of requests.
        on_credit: Takes credit that comes back on a link.
        clock: Seconds, monotonic.
        unix_ns: This host's clock.
        compressor: Reads what comes in fewer bytes; None: a new one.
    """

    def __init__(
        self,
        worker: WorkerId,
        stages: StageTable,
        origins: GatewayReplies,
        cancellations: Cancellations,
        tally: RequestCounters,
        on_credit: Callable[[Link, CreditFrame], None] = lambda _, __: None,
        clock: Clock = monotonic,
        unix_ns: Callable[[], int] = time_ns,
        compressor: Compressor | None = None,
    ) -> None:
        self._worker = worker
        self._stages = stages
        self._origins = origins
        self._cancellations = cancellations
        self._tally = tally
        self._on_credit = on_credit
        self._clock = clock
        self._unix_ns = unix_ns
        self._compressor = compressor or Compressor()
        self._unpacking: dict[asyncio.Task[Frame], RequestKey] = {}
        self.draining = False

    def on_frame(self, link: Link, frame: Frame) -> None:
        """Takes a frame from a peer; what only gateways care for is ignored."""
        kind = frame.header.WhichOneof("kind")
        if kind == "activation":
            credit = None
            if frame.header.activation.credit:
                credit = Credit(partial(link.send_soon, _returning(frame.header.activation)))
            self.receive(frame, credit)
        elif kind == "cancel":
            self.cancel(RequestKey.of(frame.header.cancel.key))
        elif kind == "credit":
            self._on_credit(link, frame.header.credit)

    def receive(self, frame: Frame, credit: Credit | None = None) -> None:
        """Takes an Activation.

        Args:
            frame: The Activation.
            credit: What its sender wants back; None: nothing.
        """
        key = RequestKey.of(frame.header.activation.key)
        if is_compressed(frame):
            # In no group: whatever it ends with, the callback deals with it, and the reader that is here must not fail.
            unpacking = asyncio.ensure_future(self._compressor.decompress(frame))
            self._unpacking[unpacking] = key
            unpacking.add_done_callback(partial(self._unpacked, credit))
            return
        try:
            request = read_request(frame, self._clock(), self._unix_ns(), credit)
        except Exception as error:  # noqa: BLE001 - one frame's defect must not end the stream
            self._refuse(key, error)
            if credit is not None:
                credit.give_back()
        else:
            self.take(request)

    def take(self, request: StageRequest) -> None:
        """Takes a request, that came from a peer or from a stage of this very worker."""
        try:
            if self._admit(request):
                return
        except Exception as error:  # noqa: BLE001 - one request's defect must not end the stream
            self._refuse(request.key, error)
        request.give_credit_back()

    def cancel(self, key: RequestKey) -> None:
        """Gives a request up, wherever it is here, and if it only comes later."""
        self._cancellations.add(key)
        for runner in self._stages.runners():
            runner.cancel(key)

    def link_up(self, peer: str) -> None:
        """Drops what came in parts for a gateway that has a new link: with the old one it failed all of them."""
        self._forget_unpacking(peer)
        for runner in self._stages.runners():
            runner.forget_parts(peer)

    def peer_lost(self, peer: str) -> None:
        """Drops what waits for a gateway that no link leads to any more."""
        self._forget_unpacking(peer)
        for runner in self._stages.runners():
            runner.forget_origin(peer)

    def _unpacked(self, credit: Credit | None, unpacking: asyncio.Task[Frame]) -> None:
        key = self._unpacking.pop(unpacking)
        error = None if unpacking.cancelled() else unpacking.exception()
        if error is None and not unpacking.cancelled():
            self.receive(unpacking.result(), credit)
            return
        if credit is not None:
            credit.give_back()
        if error is None:
            self._tally.dropped += 1
        elif isinstance(error, Exception):
            self._refuse(key, error)

    def _refuse(self, key: RequestKey, error: Exception) -> None:
        told = error if isinstance(error, MeshError) else masked(error, origin=key.origin, number=key.number)
        self._origins.refuse(key, told)

    def _forget_unpacking(self, origin: str) -> None:
        for unpacking, key in self._unpacking.items():
            if key.origin == origin:
                unpacking.cancel()

    def _admit(self, request: StageRequest) -> bool:
        """Returns whether a request is its stage's matter from now on."""
        held = self._stages.get(request.stage)
        decision = request_flow.admit(
            request,
            self._worker,
            None if held is None else held.state,
            draining=self.draining,
            cancelled=request.key in self._cancellations,
            now_s=self._clock(),
        )
        match decision:
            case Proceed():
                assert held is not None and held.runner is not None
                held.runner.offer(request)
                return True
            case Drop():
                self._tally.dropped += 1
            case Refuse(error):
                self._origins.refuse(request.key, error)
        return False


def _returning(activation: Activation) -> FrameHeader:
    hops = activation.route.hops
    stage = hops[activation.hop].stage if activation.hop < len(hops) else ""
    return FrameHeader(credit=CreditFrame(stage=stage, credit=activation.credit))
