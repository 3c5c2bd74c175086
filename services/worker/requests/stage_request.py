"""A request at one stage, read from an Activation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from onnxmesh.deadline import Deadline
from onnxmesh.errors import CorruptData
from onnxmesh.ids import StageKey
from onnxmesh.rpc.frames.frame_tensors import read_tensors
from onnxmesh.rpc.frames.frames import Frame
from onnxmesh.rpc.link_policy.credits import Credit
from onnxmesh.tensors.tensor import Tensor
from onnxmesh.v1 import frame_pb2
from services.worker.requests.request_key import RequestKey

NO_DEADLINE_S = float("inf")


@dataclass(frozen=True, slots=True, weakref_slot=True)
class StageRequest:
    """A request at one of its hops, or its main or direct part where the stage has direct inputs.

    Attributes:
        key: Of the attempt.
        header: The received header; read-only.
        tensors: Tensors alive before the stage, by name; views of the received message.
        deadline: On this process's monotonic clock.
        arrived_s: When it arrived, on the same clock.
        wire_ns: Time on the wire, from the sender's clock to this host's.
        credit: Credit of the sender, returned once the request leaves the queue; None: it took none.
    """

    key: RequestKey
    header: frame_pb2.Activation
    tensors: Mapping[str, Tensor]
    deadline: Deadline
    arrived_s: float
    wire_ns: int
    credit: Credit | None = None

    @property
    def hop(self) -> frame_pb2.Hop:
        """The current hop."""
        return self.header.route.hops[self.header.hop]

    @property
    def next_hop(self) -> frame_pb2.Hop | None:
        """The next hop; None at the last stage."""
        index = self.header.hop + 1
        return self.header.route.hops[index] if index < len(self.header.route.hops) else None

    @property
    def stage(self) -> StageKey:
        """The stage of the current hop."""
        return StageKey(self.hop.stage)

    @property
    def is_direct(self) -> bool:
        """Whether it is the direct part, which the gateway sent straight to this stage."""
        return self.header.direct

    def return_credit(self) -> None:
        """Returns the sender's credit: the request no longer waits here."""
        if self.credit is not None:
            self.credit.give_back()

    @property
    def num_bytes(self) -> int:
        """Bytes of its tensors."""
        return sum(tensor.byte_size for tensor in self.tensors.values())


def read_request(frame: Frame, now_s: float, unix_ns: int, credit: Credit | None = None) -> StageRequest:
    """Returns the request in an Activation.

    Args:
        frame: A whole Activation: all chunks have been joined.
        now_s: This process's monotonic clock.
        unix_ns: This host's clock.
        credit: Credit of the sender.

    Raises:
        CorruptData: The route has no such hop, or a tensor is not what its header describes (DATA_LOSS).
    """
    header = frame.header.activation
    if header.hop >= len(header.route.hops):
        raise CorruptData(f"the activation is at hop {header.hop} of a route of {len(header.route.hops)}")
    remaining_s = header.remaining_us / 1e6 if header.HasField("remaining_us") else NO_DEADLINE_S
    return StageRequest(
        key=RequestKey.of(header.key),
        header=header,
        tensors={tensor.name: tensor for tensor in read_tensors(header, frame.payloads)},
        deadline=Deadline(now_s + remaining_s),
        arrived_s=now_s,
        wire_ns=max(0, unix_ns - header.sent_unix_ns) if header.sent_unix_ns else 0,
        credit=credit,
    )
