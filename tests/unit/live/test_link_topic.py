"""Measured links as items of live state."""

from __future__ import annotations

import pytest

from onnxmesh.live.base import LiveEntry
from onnxmesh.live.link_topic import LinkCodec, SharedLink

GENERATIONS = {"origin_generation": 1, "target_generation": 1}


def test_link_codec_restores_what_it_encoded():
    """A generation to the last digit; a bandwidth only where there is one."""
    codec = LinkCodec()
    for link in (
        SharedLink("a", "b", 1_790_000_000_123_456_789, 2, 0.5, 1e9),
        SharedLink("a", "b", 1, 2, 0.5),
    ):
        assert codec.key(link) == "a>b"
        assert codec.decode(LiveEntry("g", codec.key(link), 1.0, codec.encode(link))) == link


@pytest.mark.parametrize(
    "entry",
    [
        LiveEntry("g", "a>b", 0.0, {}),
        LiveEntry("g", "ab", 0.0, {"round_trip_s": 1.0, **GENERATIONS}),
        LiveEntry("g", "a>b", 0.0, {"round_trip_s": float("nan"), **GENERATIONS}),
        LiveEntry("g", "a>b", 0.0, {"round_trip_s": -1.0, **GENERATIONS}),
        LiveEntry("g", "a>b", 0.0, {"round_trip_s": 1.0, "bytes_per_s": 0.0, **GENERATIONS}),
    ],
    ids=["nothing", "no link", "no number", "negative", "no bandwidth"],
)
def test_link_codec_ignores_a_malformed_entry(entry):
    """Of another release, or damaged."""
    assert LinkCodec().decode(entry) is None
