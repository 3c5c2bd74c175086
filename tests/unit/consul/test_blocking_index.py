"""The index of a blocking query follows Consul's rules."""

from __future__ import annotations

from onnxmesh.consul.blocking_index import BlockingIndex


def test_blocking_index_follows_consuls_rules():
    """It grows, starts again where Consul's went backwards or a query failed, and always blocks otherwise."""
    index = BlockingIndex()
    assert index.value == 0
    index.advance(0)
    assert index.value == 1
    index.advance(9)
    index.advance(9)
    assert index.value == 9
    index.advance(8)
    assert index.value == 0
    index.advance(8)
    assert index.value == 8
    index.reset()
    assert index.value == 0
