"""Keys of stages."""

from __future__ import annotations

from onnxmesh.ids import ModelName, Version, stage_key


def test_stage_key_names_the_revision_of_later_plans_only():
    assert stage_key(ModelName("m"), Version(2), 1) == "m/2/1"
    assert stage_key(ModelName("m"), Version(2), 1, revision=3) == "m/2.3/1"
