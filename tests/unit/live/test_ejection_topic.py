"""Ejections as items of live state."""

from __future__ import annotations

from onnxmesh.live.base import LiveEntry
from onnxmesh.live.ejection_topic import EjectionCodec, SharedEjection


def test_ejection_codec_subtracts_the_age_of_the_entry():
    """An ejection that is over, or malformed, is none."""
    codec = EjectionCodec()
    ejection = SharedEjection("a", "m/1/0", 5.0)
    entry = (codec.key(ejection), codec.encode(ejection))
    assert codec.decode(LiveEntry("g", entry[0], 2.0, entry[1])) == SharedEjection("a", "m/1/0", 3.0)
    assert codec.decode(LiveEntry("g", entry[0], 5.0, entry[1])) is None
    assert codec.decode(LiveEntry("g", "a>m/1/0", 0.0, {})) is None
    assert codec.decode(LiveEntry("g", "am/1/0", 0.0, entry[1])) is None
