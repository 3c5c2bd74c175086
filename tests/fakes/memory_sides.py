"""Both sides of one shared memory, in one process."""

from __future__ import annotations

import os

from onnxmesh.memory.shared_memory import OwnMemory, PeerMemory


class Sides:
    """Both sides of one memory."""

    def __init__(self, byte_size=1 << 20):
        self.own = OwnMemory(byte_size)
        self.freed = []
        self.peer = PeerMemory(os.dup(self.own.descriptor))

    def view(self, payload):
        return self.peer.view(payload, self.freed.append)

    def close(self):
        self.own.close()
