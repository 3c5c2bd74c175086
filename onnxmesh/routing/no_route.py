"""The outcome of a request for which no route exists."""

from __future__ import annotations

from dataclasses import dataclass

from onnxmesh.routing.decision import Decision


@dataclass(frozen=True, slots=True)
class NoRoute:
    """A stage has no replica for the request.

    Attributes:
        stage: Number of the first such stage.
        decision: The decision that ended without a pick.
    """

    stage: int
    decision: Decision

    @property
    def is_late(self) -> bool:
        """Whether replicas of the stage could serve the request, but none in time."""
        return self.decision.pick.is_late

    @property
    def is_unsatisfiable(self) -> bool:
        """Whether no replica of the stage, usable or not, meets the request's selector."""
        require = self.decision.query.require
        return bool(require) and not self.decision.stage.selected(require).any()

    @property
    def retry_after_s(self) -> float:
        """Time until the queue is short enough for the request, if no other request arrives."""
        return max(0.0, self.decision.soonest_s - self.decision.query.remaining_s)
