"""Loads of workers as items of live state."""

from __future__ import annotations

import pytest

from onnxmesh.live.base import LiveEntry
from onnxmesh.live.load_topic import LoadCodec, WorkerLoad
from onnxmesh.v1.frame_pb2 import Load, StageLoad


def test_load_codec_restores_the_scalar_fields():
    """Those of single stages are left out."""
    codec = LoadCodec()
    scalars = {"queued": 3, "running": 1, "in_flight_bytes": 2**40, "completed": 7}
    load = WorkerLoad("w", Load(**scalars, stages=[StageLoad(stage="m/1/0")]))
    assert codec.encode(load) == scalars
    assert codec.decode(LiveEntry("g1", codec.key(load), 0.1, codec.encode(load))) == WorkerLoad(
        "w", Load(**scalars)
    )


def test_load_codec_ignores_fields_of_a_later_release():
    """An unknown name, or a number where this release has a message."""
    entry = LiveEntry("g1", "w", 0.0, {"queued": 2.0, "unknown": 5, "stages": 1.0})
    assert LoadCodec().decode(entry).load == Load(queued=2)


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), 1e300, "x", None])
def test_load_codec_rejects_malformed_values(value):
    assert LoadCodec().decode(LiveEntry("g1", "w", 0.0, {"queued": value})) is None
