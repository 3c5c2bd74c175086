"""What a client is told when no route is left. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from onnxmesh.errors import MeshError, Overloaded, Unavailable, Unsatisfiable
from onnxmesh.routing.no_route import NoRoute
from onnxmesh.routing.table.routed_model import RoutedModel
from services.gateway.requests.attempts import AttemptFailure

MIN_RETRY_AFTER_S = 0.001
"""Coming back at once is of no use."""

MAX_TOLD = 20
"""Workers whose gaps are told."""


def gave_up(what: str, failures: Sequence[AttemptFailure]) -> MeshError:
    """Returns the error that says `what` was given up, and everything that happened before.

    Overloaded where that was all that went wrong, with the longest delay that a worker asked for; else
    Unavailable.
    """
    history = "; ".join(f"worker '{failure.worker}': {failure.error.message}" for failure in failures)
    message = f"{what}: {history}" if history else what
    if failures and all(isinstance(failure.error, Overloaded) for failure in failures):
        delays = [failure.error.retry_after_s for failure in failures if failure.error.retry_after_s]
        return Overloaded(message, retry_after_s=max(delays, default=None))
    return Unavailable(message)


def too_late(model: RoutedModel, found: NoRoute, failures: Sequence[AttemptFailure]) -> Overloaded:
    """Returns the error that says that no replica can be done in time, with the delay after which one could."""
    soonest_ms, remaining_ms = found.decision.soonest_s * 1e3, found.decision.query.remaining_s * 1e3
    tried = f" after {len(failures)} failed attempts" if failures else ""
    return Overloaded(
        f"{model}: no replica of stage {found.stage} can be done in time{tried}: "
        f"the first would take {soonest_ms:.3g} ms, {max(0.0, remaining_ms):.3g} ms are left",
        retry_after_s=max(found.retry_after_s, MIN_RETRY_AFTER_S),
    )


def unsatisfiable(model: RoutedModel, found: NoRoute) -> Unsatisfiable:
    """Returns the error that says who lacks what of a request's requirements."""
    require = found.decision.query.require
    gaps = "; ".join(
        f"{replica.worker} lacks {', '.join(map(str, require.lacking(replica.facts.labels)))}"
        for replica in found.decision.stage.replicas[:MAX_TOLD]
    )
    return Unsatisfiable(f"{model}: no worker of stage {found.stage} satisfies '{require}': {gaps}")
