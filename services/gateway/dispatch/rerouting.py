"""Which attempts are worth moving away from a worker that has fallen silent."""

from __future__ import annotations

from onnxmesh.ids import WorkerId
from services.gateway.requests.attempts import Attempt
from services.gateway.requests.peers import Peers


def may_reroute(attempt: Attempt, worker: WorkerId, peers: Peers, max_attempts: int) -> bool:
    """Whether an attempt that relies on a silent worker is better tried again.

    The last attempt of a request waits for what comes, and so does one where nobody else that is heard of has the stage:
    silence is no proof of death.
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
            (link := peers.get(replica.worker)) is not None and not link.is_suspect
            for replica in stage.replicas
        )
        for stage in held
    )
