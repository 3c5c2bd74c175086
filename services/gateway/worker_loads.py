"""What the gateway knows of workers' load, for the picker."""

from __future__ import annotations

from onnxmesh.ids import WorkerId
from onnxmesh.v1.frame_pb2 import Load
from services.gateway.attempts import Attempts
from services.gateway.peers import Peers


class WorkerLoads:
    """A `WorkerView`: workers' own reports and what this gateway has in flight on them.

    Args:
        peers: A worker is live while the stream to it is open.
        attempts: What is in flight.
    """

    def __init__(self, peers: Peers, attempts: Attempts) -> None:
        self._peers = peers
        self._attempts = attempts
        self._reported: dict[WorkerId, int] = {}

    def is_live(self, worker: WorkerId) -> bool:
        """Whether frames can be sent to it."""
        return self._peers.get(worker) is not None

    def load(self, worker: WorkerId) -> float:
        """Requests queued and running there as last reported, and those of ours that pass through."""
        return self._reported.get(worker, 0) + self._attempts.count_on(worker)

    def report(self, worker: WorkerId, load: Load) -> None:
        """Takes a worker's report."""
        self._reported[worker] = load.queued + load.running

    def forget(self, worker: WorkerId) -> None:
        """Drops the last report of a worker that is gone."""
        self._reported.pop(worker, None)
