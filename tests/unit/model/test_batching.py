"""Findings of the batching check as plain values."""

from __future__ import annotations

import json

from onnxmesh.model.batching import StageBatching


def test_stage_batching_survives_plain_values():
    """Through JSON and back."""
    found = StageBatching(8, ("a", "b"), 1e-7, "class", "because", 64)
    assert StageBatching.from_plain(json.loads(json.dumps(found.to_plain()))) == found
