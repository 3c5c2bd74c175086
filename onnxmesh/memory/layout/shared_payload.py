"""References to payloads in shared memory, and their alignment."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SharedPayload:
    """A reference to a payload in memory that both sides of a link share: sent in its place.

    Attributes:
        offset: Bytes from the start of the sender's memory.
        byte_size: Its length.
    """

    offset: int
    byte_size: int


PAYLOAD_ALIGNMENT = 16
"""Payloads of at least this size start at a multiple of it from the start of the Envelope.

Received messages start at such an address, and ONNX Runtime's kernels need aligned tensors.
"""
