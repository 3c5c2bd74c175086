"""What a client is told when no route is left. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from onnxmesh.errors import MeshError, Overloaded, Unavailable
from services.gateway.attempts import Setback


def gave_up(what: str, setbacks: Sequence[Setback]) -> MeshError:
    """Returns the error that says `what` was given up, and everything that happened before.

    Overloaded where that was all that went wrong, with the longest delay that a worker asked for; else
    Unavailable.
    """
    history = "; ".join(f"worker '{setback.worker}': {setback.error.message}" for setback in setbacks)
    message = f"{what}: {history}" if history else what
    if setbacks and all(isinstance(setback.error, Overloaded) for setback in setbacks):
        delays = [setback.error.retry_after_s for setback in setbacks if setback.error.retry_after_s]
        return Overloaded(message, retry_after_s=max(delays, default=None))
    return Unavailable(message)
