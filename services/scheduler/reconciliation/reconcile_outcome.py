"""Outcome of one reconciliation: the placement and what follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from onnxmesh.errors import MeshError
from onnxmesh.ids import ModelKey
from services.scheduler.placement.placement import Placement


@dataclass(frozen=True, slots=True)
class ReconcileOutcome:
    """What one reconciliation decided.

    Attributes:
        placement: Which workers serve each stage, and the commands that were decided.
        failures: Deployments on probation that cannot be served, and why.
        published: Models that are in the route table.
        rebalancing: Whether a rebalance is still under way.
    """

    placement: Placement = field(default_factory=lambda: Placement({}))
    failures: Mapping[ModelKey, MeshError] = field(default_factory=dict)
    published: frozenset[ModelKey] = frozenset()
    rebalancing: bool = False
