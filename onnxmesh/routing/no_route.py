"""Why there is no route for a request."""

from __future__ import annotations

from dataclasses import dataclass

from onnxmesh.routing.decision import Decision


@dataclass(frozen=True, slots=True)
class NoRoute:
    """There is no route.

    Attributes:
        stage: The first stage that has no replica for the request.
        decision: Why.
    """

    stage: int
    decision: Decision

    @property
    def is_late(self) -> bool:
        """Whether replicas there could serve it, but none in time."""
        return self.decision.late

    @property
    def is_unsatisfiable(self) -> bool:
        """Whether no replica there, usable or not, meets what the request requires."""
        require = self.decision.ask.require
        return bool(require) and not self.decision.stage.selected(require).any()

    @property
    def retry_after_s(self) -> float:
        """When the work ahead of the request will have become little enough, if nothing comes in between."""
        return max(0.0, self.decision.soonest_s - self.decision.ask.remaining_s)
