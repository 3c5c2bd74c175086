"""Where a stage is between coming and going."""

from __future__ import annotations

from enum import Enum


class StagePhase(Enum):
    """Only READY stages take requests."""

    LOADING = "LOADING"
    READY = "READY"
    EVICTING = "EVICTING"
