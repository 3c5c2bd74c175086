"""Options of a request: what a client specifies beside the tensors."""

from __future__ import annotations

from dataclasses import dataclass

from onnxmesh.routing.selectors.preference import Preference
from onnxmesh.routing.selectors.selector import ANY_WORKER, Selector


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestOptions:
    """Options that a client gives as parameters of its request.

    Attributes:
        timeout_s: Seconds that lower the deadline, or None.
        trace: Whether the response contains the trace of the route.
        require: Requirements that each worker of the route must meet.
        prefer: Preferences that each worker of the route should meet.
        session: The session that the request belongs to; empty: none.
        priority: Less is more urgent; 0: the default.
    """

    timeout_s: float | None = None
    trace: bool = False
    require: Selector = ANY_WORKER
    prefer: tuple[Preference, ...] = ()
    session: str = ""
    priority: int = 0


DEFAULT_OPTIONS = RequestOptions()
"""The options of a request without parameters; compared by identity."""
