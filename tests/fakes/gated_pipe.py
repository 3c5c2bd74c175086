"""A pipe without a peer, whose flow control a test controls."""

from __future__ import annotations

import asyncio

from onnxmesh.rpc.frames.frames import decode_envelope


class GatedPipe:
    """Keeps what is written; writing waits while `gate` is closed.

    Args:
        is_prompt: Whether it can be written to at once.
    """

    def __init__(self, *, is_prompt=False):
        self.gate = asyncio.Event()
        self.gate.set()
        self.messages = []
        self.write_now = self.messages.append if is_prompt else None

    @property
    def has_capacity(self):
        return self.gate.is_set()

    @property
    def kinds(self):
        """The kinds of the frames of each message."""
        return [
            [frame.header.WhichOneof("kind") for frame in decode_envelope(each)] for each in self.messages
        ]

    async def write(self, message):
        self.messages.append(message)
        await self.gate.wait()
