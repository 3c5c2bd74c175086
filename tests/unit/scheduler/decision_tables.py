"""A worker and a stage, in few words."""

from __future__ import annotations

from onnxmesh.discovery.instance import Instance
from onnxmesh.ids import StageKey

STAGE = StageKey("m/1/0")


def worker(id_, *tags, **attributes):
    facts = {key.replace("_", "."): value for key, value in attributes.items()}
    return Instance(id_, "worker", f"{id_}:1", 1, tags, facts)
