"""Sizes and times of the links of a process."""

from __future__ import annotations

from dataclasses import dataclass

from onnxmesh.rpc.frames.chunking import DEFAULT_CHUNK_BYTES


@dataclass(frozen=True, slots=True)
class LinkLimits:
    """Sizes and times of a link.

    Attributes:
        chunk_bytes: Frames with more payload than this are sent in pieces of this size.
        high_water_bytes: `Link.send` waits while more than this is queued.
        heartbeat_s: While a link is in use, a side that has nothing to say sends an empty Envelope this often.
        idle_heartbeat_s: The same while it is not; about as often each side may measure the way.
        suspect_after_s: A peer that says nothing for this long is suspect: others go first.
        dead_after_s: A peer that says nothing for this long is taken for dead.
    """

    chunk_bytes: int = DEFAULT_CHUNK_BYTES
    high_water_bytes: int = 64 << 20
    heartbeat_s: float = 0.2
    idle_heartbeat_s: float = 1.0
    suspect_after_s: float = 0.6
    dead_after_s: float = 3.0
