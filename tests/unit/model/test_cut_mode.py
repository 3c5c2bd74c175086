"""Modes of a cut."""

from __future__ import annotations

from onnxmesh.model.cut_mode import CutMode
from onnxmesh.model.optimisation_level import OptimisationLevel


def test_load_level_optimises_portable_partitions_only():
    """Exact partitions were optimised before the cut."""
    assert CutMode.EXACT.load_level is OptimisationLevel.NONE
    assert CutMode.PORTABLE.load_level is OptimisationLevel.ALL
