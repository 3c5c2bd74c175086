"""Sizes and times of a process's links."""

from __future__ import annotations

from dataclasses import dataclass

from onnxmesh.rpc.frames.chunking import DEFAULT_CHUNK_BYTES


@dataclass(frozen=True, slots=True)
class LinkLimits:
    """Sizes and times of a link.

    Attributes:
        chunk_bytes: Frames with more payload bytes are sent in chunks of this size.
        high_water_bytes: `Link.send` waits while more bytes are queued.
        heartbeat_s: Interval of empty messages from an idle side while the link is in use.
        idle_heartbeat_s: The same while it is not in use; also about the interval at which a side may ping.
        suspect_after_s: A peer that has sent nothing for longer is suspect: other peers are preferred.
        dead_after_s: A peer that has sent nothing for longer is considered dead: the link ends.
    """

    chunk_bytes: int = DEFAULT_CHUNK_BYTES
    high_water_bytes: int = 64 << 20
    heartbeat_s: float = 0.2
    idle_heartbeat_s: float = 1.0
    suspect_after_s: float = 0.6
    dead_after_s: float = 3.0
