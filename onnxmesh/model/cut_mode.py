"""The two modes of cutting a model: exact and portable."""

from __future__ import annotations

from enum import StrEnum

from onnxmesh.model.optimisation_level import OptimisationLevel


class CutMode(StrEnum):
    """The mode of a cut: whether optimisation precedes or follows it. Values are the names in a plan."""

    EXACT = "exact"
    """The whole model is optimised, then cut; partitions run unchanged, with the bits of the whole model on equal
    hardware."""
    PORTABLE = "portable"
    """The source model is cut; each partition is optimised at load, for its own device. The chain differs from the
    whole model in last bits."""

    @property
    def load_level(self) -> OptimisationLevel:
        """Optimisation level at which a partition is loaded."""
        return OptimisationLevel.ALL if self is CutMode.PORTABLE else OptimisationLevel.NONE
