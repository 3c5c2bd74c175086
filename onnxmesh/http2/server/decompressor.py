"""Thread that compresses and decompresses large messages."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from onnxmesh.http2.protocol.compressed_messages import CompressedMessage, gzip_message


class Decompressor:
    """Compresses and decompresses messages in a thread, one at a time, to bound memory."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "decompressor")

    async def decompress(self, message: CompressedMessage) -> bytes:
        """Returns the decompressed message.

        Raises:
            MeshError: See `CompressedMessage.decompress`.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, message.decompress)

    async def compress(self, message: bytes) -> bytes | None:
        """Returns the message compressed by gzip; None: that is not much shorter."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, gzip_message, message)

    def close(self) -> None:
        """Ends the thread after its current message; messages that wait are cancelled."""
        self._thread.shutdown(wait=False, cancel_futures=True)
