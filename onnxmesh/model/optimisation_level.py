"""Optimisation level of a graph before it is cut."""

from __future__ import annotations

from enum import StrEnum


class OptimisationLevel(StrEnum):
    """ONNX Runtime's graph optimisation levels. Values are the names in a plan.

    The whole model is optimised once at this level and then cut; stages run without further optimisation, so that
    their chain returns the bits of the whole model.
    """

    NONE = "none"
    BASIC = "basic"
    EXTENDED = "extended"
    ALL = "all"
    """Adds memory layouts of one CPU class: for stages on CPUs of that class only."""
