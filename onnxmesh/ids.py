"""Identifiers that must not be mixed up."""

from __future__ import annotations

from typing import NewType

WorkerId = NewType("WorkerId", str)
"""Name of a worker, unique in the mesh; survives a restart (its generation does not)."""

GatewayId = NewType("GatewayId", str)
"""Name of one gateway process, new at every start."""

ModelName = NewType("ModelName", str)
"""What clients call the model."""

Version = NewType("Version", int)
"""Version of a model, counted from 1 upwards."""

Digest = NewType("Digest", str)
"""Lower-case hexadecimal SHA-256 of a content."""

StageKey = NewType("StageKey", str)
"""`model/version/stage`: one stage of one deployed model version."""


def stage_key(model: ModelName, version: Version, stage: int) -> StageKey:
    """Returns the key under which workers hold stage number `stage` (from 0)."""
    return StageKey(f"{model}/{version}/{stage}")
