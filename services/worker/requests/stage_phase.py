"""Phases of a stage on a worker."""

from __future__ import annotations

from enum import Enum


class StagePhase(Enum):
    """Only READY stages admit requests."""

    LOADING = "LOADING"
    READY = "READY"
    EVICTING = "EVICTING"
