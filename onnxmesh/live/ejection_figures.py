"""Ejections as live state carries them."""

from __future__ import annotations

from dataclasses import dataclass

from onnxmesh.ids import StageKey, WorkerId
from onnxmesh.live.base import Figure, Values
from onnxmesh.live.link_figures import SEPARATOR


@dataclass(frozen=True, slots=True)
class EjectionFigure:
    """A replica that somebody keeps out of routes.

    Attributes:
        worker: Whose.
        stage: Of what.
        left_s: For how long still.
    """

    worker: WorkerId
    stage: StageKey
    left_s: float

    @property
    def key(self) -> str:
        """Its key in the topic of ejections."""
        return f"{self.worker}{SEPARATOR}{self.stage}"

    @property
    def values(self) -> Values:
        """What is published under it."""
        return {"left_s": self.left_s}

    @classmethod
    def read(cls, figure: Figure) -> EjectionFigure | None:
        """Reads what was published, be it by another release; None where it is none, or over."""
        worker, separator, stage = figure.key.partition(SEPARATOR)
        try:
            left_s = float(figure.values["left_s"]) - figure.age_s
        except (KeyError, ValueError, TypeError):
            return None
        return cls(WorkerId(worker), StageKey(stage), left_s) if separator and left_s > 0 else None
