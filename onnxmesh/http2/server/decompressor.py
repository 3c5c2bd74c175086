"""Thread that decompresses large messages."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from onnxmesh.http2.protocol.compressed_messages import CompressedMessage


class Decompressor:
    """Decompresses messages in a thread, one at a time, to bound memory."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "decompressor")

    async def decompress(self, message: CompressedMessage) -> bytes:
        """Returns the decompressed message.

        Raises:
            MeshError: See `CompressedMessage.decompress`.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, message.decompress)

    def close(self) -> None:
        """Ends the thread after its current message; messages that wait are cancelled."""
        self._thread.shutdown(wait=False, cancel_futures=True)
