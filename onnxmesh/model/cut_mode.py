"""The two ways in which a model can be cut."""

from __future__ import annotations

from enum import StrEnum

from onnxmesh.model.optimisation_level import OptimisationLevel


class CutMode(StrEnum):
    """What of optimising comes first, by the names that a plan states."""

    EXACT = "exact"
    """ONNX Runtime optimises the whole, that is cut, and partitions run as they are: the bits of the whole model on
    like hardware."""
    PORTABLE = "portable"
    """The model is cut as its owner wrote it, and each partition is optimised where it is loaded, for its own device.
    The chain differs from the whole in last bits."""

    @property
    def load_level(self) -> OptimisationLevel:
        """What ONNX Runtime does to a partition when it is loaded."""
        return OptimisationLevel.ALL if self is CutMode.PORTABLE else OptimisationLevel.NONE
