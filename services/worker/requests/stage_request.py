"""One Activation while it is on this worker."""

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
    """A request at one of its hops, or one of its two parts where the stage has direct inputs.

    Attributes:
        key: Which attempt of which request.
        header: The frame's own words; nobody may change them.
        tensors: What is alive before the stage, by name; views of the received message.
        deadline: On this process's clock.
        arrived_s: When it came, on the same clock.
        wire_ns: From the sender's clock to this host's.
        credit: What its sender wants back once it waits no more; None: nothing.
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
        """Where the request is now."""
        return self.header.route.hops[self.header.hop]

    @property
    def next_hop(self) -> frame_pb2.Hop | None:
        """Where it goes from here; None at the last stage."""
        following = self.header.hop + 1
        return self.header.route.hops[following] if following < len(self.header.route.hops) else None

    @property
    def stage(self) -> StageKey:
        """The stage that it is here for."""
        return StageKey(self.hop.stage)

    @property
    def is_direct(self) -> bool:
        """Whether it is the part that the gateway sends straight here."""
        return self.header.direct

    def give_credit_back(self) -> None:
        """Gives its sender's credit back: it waits here no more."""
        if self.credit is not None:
            self.credit.give_back()

    @property
    def num_bytes(self) -> int:
        """Bytes of its tensors."""
        return sum(tensor.byte_size for tensor in self.tensors.values())


def read_request(frame: Frame, now_s: float, unix_ns: int, credit: Credit | None = None) -> StageRequest:
    """Reads an Activation.

    Args:
        frame: A whole one: no pieces are missing.
        now_s: This process's monotonic clock.
        unix_ns: This host's clock.
        credit: What its sender wants back.

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
