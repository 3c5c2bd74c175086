"""How much ONNX Runtime may change a graph before it is cut."""

from __future__ import annotations

from enum import StrEnum


class OptimisationLevel(StrEnum):
    """ONNX Runtime's graph optimisation levels, by the names that a plan states.

    The whole model is optimised once at this level and the result is cut; stages are then run
    without further optimisation, which is why a chain of stages answers as the whole, bit for bit.
    """

    NONE = "none"
    BASIC = "basic"
    EXTENDED = "extended"
    ALL = "all"
    """Adds memory layouts that belong to one class of CPU: for stages on like machines only."""
