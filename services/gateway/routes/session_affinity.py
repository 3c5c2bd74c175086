"""Session affinity: the workers that serve the requests of a session."""

from __future__ import annotations

import json
from collections.abc import Mapping

from onnxmesh.ids import StageKey, WorkerId
from onnxmesh.live.base import LiveState
from onnxmesh.routing.balancer import Route
from onnxmesh.routing.table.routed_model import RoutedModel

DEFAULT_TTL_S = 600.0
"""A session without requests expires after so long."""

NO_WORKERS: Mapping[StageKey, WorkerId] = {}
"""The workers of a session that is new."""


class SessionAffinity:
    """Records which workers served a session last, and finds those of sessions that other gateways served.

    Args:
        live: Where sessions are shared.
        ttl_s: A session without requests expires after so long.
    """

    def __init__(self, live: LiveState, ttl_s: float = DEFAULT_TTL_S) -> None:
        self._live = live
        self._ttl_s = ttl_s

    async def workers(self, model: RoutedModel, session: str) -> Mapping[StageKey, WorkerId]:
        """Returns by stage the worker that served a session last; empty for a new one.

        Waits `onnxmesh.live.base.FIND_SESSION_S` at most, and only for a session that this gateway does not know.
        """
        if not session:
            return NO_WORKERS
        key = _key(model, session)
        place = self._live.local_session(key)
        if place is None:
            place = await self._live.find_session(key)
        return NO_WORKERS if place is None else _decoded(place)

    def record(self, model: RoutedModel, session: str, route: Route) -> None:
        """Records that a request of a session was answered on a route."""
        if session:
            place = {stage.key: replica.worker for stage, replica in zip(model.stages, route, strict=True)}
            self._live.set_session(_key(model, session), json.dumps(place), self._ttl_s)


def _key(model: RoutedModel, session: str) -> str:
    return f"{model.name}/{model.version}/{session}"


def _decoded(place: str) -> Mapping[StageKey, WorkerId]:
    """Returns the workers by stage; none where another release has written another format."""
    try:
        found = json.loads(place)
    except ValueError:
        return NO_WORKERS
    if not isinstance(found, dict):
        return NO_WORKERS
    return {StageKey(stage): WorkerId(worker) for stage, worker in found.items() if isinstance(worker, str)}
