"""Limits of connections."""

from __future__ import annotations

from onnxmesh.http2.protocol.limits import AbuseLimits, ConnectionLimits


def test_blocks_that_are_skipped_are_longer_than_those_that_are_served():
    """And several of the longest are skipped before the connection ends: a mistake of a client costs it one call."""
    limits = ConnectionLimits()
    assert limits.max_skipped_headers_bytes == 1 << 20
    assert ConnectionLimits(max_headers_bytes=10_000).max_skipped_headers_bytes == 160_000
    assert AbuseLimits().max_long_headers_bytes >= 10 * limits.max_skipped_headers_bytes
