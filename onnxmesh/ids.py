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
"""`model/version/stage`, or `model/version.revision/stage`: one stage of one plan of a deployed model version."""


def stage_key(model: ModelName, version: Version, stage: int, revision: int = 0) -> StageKey:
    """Returns the key under which workers hold stage number `stage` (from 0).

    Args:
        model: The model.
        version: Its version.
        stage: Place in the chain.
        revision: Of the version's plan; the first plan's stages are named without it.
    """
    return StageKey(f"{model}/{version}{f'.{revision}' if revision else ''}/{stage}")
