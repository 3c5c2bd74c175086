"""Identifier types. Pure."""

from __future__ import annotations

from typing import NewType

WorkerId = NewType("WorkerId", str)
"""Name of a worker, unique in the mesh; survives a restart (its generation does not)."""

GatewayId = NewType("GatewayId", str)
"""Name of one gateway process, new with every start."""

ModelName = NewType("ModelName", str)
"""Name of a model, as clients use it."""

Version = NewType("Version", int)
"""Version of a model, from 1."""

ModelKey = tuple[ModelName, Version]
"""One version of a model."""

Digest = NewType("Digest", str)
"""Lower-case hexadecimal SHA-256."""

StageKey = NewType("StageKey", str)
"""`model/version/stage`, or `model/version.revision/stage`: one stage of one plan of a deployed model version."""


def stage_key(model: ModelName, version: Version, stage: int, revision: int = 0) -> StageKey:
    """Returns the key under which workers hold stage number `stage` (from 0).

    Args:
        model: The model.
        version: Its version.
        stage: Index in the pipeline.
        revision: Revision of the version's plan; keys of the first plan have none.
    """
    return StageKey(f"{model}/{version}{f'.{revision}' if revision else ''}/{stage}")
