"""A payload in memory that both sides of a link see."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SharedPayload:
    """A payload that is not sent: both sides see the memory that it is in.

    Attributes:
        offset: From the start of the sender's memory.
        byte_size: Its length.
    """

    offset: int
    byte_size: int


PAYLOAD_ALIGNMENT = 16
"""Payloads of at least this size begin at a multiple of it from the start of the Envelope.

Received messages begin at such an address, and ONNX Runtime's kernels want tensors there.
"""
