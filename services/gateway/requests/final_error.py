"""Errors of requests that have no route left. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from onnxmesh.error_text import listed
from onnxmesh.errors import DeadlineExceeded, MeshError, Overloaded, Unavailable, Unsatisfiable
from onnxmesh.quantities import time_text
from onnxmesh.routing.no_route import NoRoute
from onnxmesh.routing.table.routed_model import RoutedModel
from services.gateway.requests.attempts import AttemptFailure

MIN_RETRY_AFTER_S = 0.001
"""Shortest retry delay: an immediate retry would be of no use."""


def routes_exhausted(what: str, failures: Sequence[AttemptFailure]) -> MeshError:
    """Returns the error of a request that cannot be tried again: `what`, and every failed attempt.

    Overloaded where all attempts failed for that, with the longest retry delay among their errors; else Unavailable.
    """
    history = listed(
        (f"worker '{failure.worker}': {failure.error.message}" for failure in failures),
        quoted=False,
        separator="; ",
    )
    message = f"{what}: {history}" if failures else what
    if failures and all(isinstance(failure.error, Overloaded) for failure in failures):
        delays = [failure.error.retry_after_s for failure in failures if failure.error.retry_after_s]
        return Overloaded(message, retry_after_s=max(delays, default=None))
    return Unavailable(message)


def deadline_unreachable(
    model: RoutedModel, found: NoRoute, failures: Sequence[AttemptFailure]
) -> DeadlineExceeded:
    """Returns the error of a request that no replica can complete in time, with the delay after which one could.

    It is the error of a deadline that has passed, only earlier: whether the gateway has learned what a run takes must not change
    the status.
    """
    return DeadlineExceeded(
        f"{model}: no replica of stage {found.stage} can be done in time{after(failures)}: "
        f"the first would take {time_text(found.decision.soonest_s)}, {time_text(found.decision.query.remaining_s)} remain",
        retry_after_s=max(found.retry_after_s, MIN_RETRY_AFTER_S),
    )


def requirements_unsatisfied(model: RoutedModel, found: NoRoute) -> Unsatisfiable:
    """Returns the error of a request whose requirements no worker meets: what each worker lacks."""
    require = found.decision.query.require
    gaps = listed(
        (
            f"{replica.worker} lacks {', '.join(map(str, require.lacking(replica.facts.labels)))}"
            for replica in found.decision.stage.replicas
        ),
        quoted=False,
        separator="; ",
    )
    return Unsatisfiable(f"{model}: no worker of stage {found.stage} satisfies '{require}': {gaps}")


def after(failures: Sequence[AttemptFailure]) -> str:
    """Returns ` after 2 failed attempts` for a message; empty without failures."""
    if not failures:
        return ""
    return f" after {len(failures)} failed {'attempt' if len(failures) == 1 else 'attempts'}"
