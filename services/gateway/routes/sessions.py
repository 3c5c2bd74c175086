"""Which workers serve a session."""

from __future__ import annotations

import json
from collections.abc import Mapping

from onnxmesh.ids import StageKey, WorkerId
from onnxmesh.live.base import LiveState
from onnxmesh.routing.balancer import Route
from onnxmesh.routing.table.routed_model import RoutedModel

DEFAULT_TTL_S = 600.0
"""A session that nobody uses is forgotten after so long."""

UNKNOWN_LOCALITY: Mapping[StageKey, WorkerId] = {}
"""Where a session is that is new."""


class Sessions:
    """Remembers where sessions are, and finds out where other gateways sent them.

    Args:
        live: Where it is shared.
        ttl_s: After so long without a request a session is forgotten.
    """

    def __init__(self, live: LiveState, ttl_s: float = DEFAULT_TTL_S) -> None:
        self._live = live
        self._ttl_s = ttl_s

    async def places(self, model: RoutedModel, session: str) -> Mapping[StageKey, WorkerId]:
        """Returns by stage the worker that served a session last.

        Waits `onnxmesh.live.base.RECALL_S` at the longest, and only for a session that this gateway does not know.
        """
        if not session:
            return UNKNOWN_LOCALITY
        name = _name(model, session)
        place = self._live.known(name)
        if place is None:
            place = await self._live.recall(name)
        return UNKNOWN_LOCALITY if place is None else _read(place)

    def served(self, model: RoutedModel, session: str, route: Route) -> None:
        """Takes that a request of a session was answered on a route."""
        if session:
            place = {stage.key: replica.worker for stage, replica in zip(model.stages, route, strict=True)}
            self._live.remember(_name(model, session), json.dumps(place), self._ttl_s)


def _name(model: RoutedModel, session: str) -> str:
    return f"{model.name}/{model.version}/{session}"


def _read(place: str) -> Mapping[StageKey, WorkerId]:
    """Reads what was remembered; what another release wrote otherwise is nowhere."""
    try:
        found = json.loads(place)
    except ValueError:
        return UNKNOWN_LOCALITY
    if not isinstance(found, dict):
        return UNKNOWN_LOCALITY
    return {StageKey(stage): WorkerId(worker) for stage, worker in found.items() if isinstance(worker, str)}
