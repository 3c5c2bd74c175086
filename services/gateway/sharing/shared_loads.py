"""What workers say of their load, shared among gateways."""

from __future__ import annotations

from collections.abc import Callable

from onnxmesh.ids import WorkerId
from onnxmesh.live.base import LiveState, Topic
from onnxmesh.live.load_figures import load_values, read_load
from onnxmesh.v1.frame_pb2 import Load

PERIOD_S = 0.5
"""Time between two looks at what other gateways were told."""

TTL_S = 3.0
"""A report that is older says nothing any more."""


class SharedLoads:
    """Tells other gateways what workers said to this one, and this one what they said to others.

    A gateway that has just started, or has not sent anything to a worker yet, so chooses by what the others know.

    Args:
        gateway: This gateway's id.
        live: Where it is shared.
        hear: Is given what others were told, where that is the newest.
    """

    def __init__(self, gateway: str, live: LiveState, hear: Callable[[WorkerId, Load], None]) -> None:
        self._gateway = gateway
        self._live = live
        self._hear = hear

    def said(self, worker: WorkerId, load: Load) -> None:
        """Takes what a worker has said to this gateway."""
        self._live.publish(Topic.LOAD, worker, load_values(load), TTL_S)

    def listen(self) -> None:
        """Takes up what others were told since this gateway was told anything itself."""
        for worker, (newest, *_) in self._live.figures(Topic.LOAD).items():
            if newest.writer != self._gateway:
                self._hear(WorkerId(worker), read_load(newest.values))
