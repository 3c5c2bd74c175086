"""Where messages of clients are uncompressed."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from onnxmesh.http2.protocol.compressed_messages import Compressed


class Decompressor:
    """Uncompresses messages beside the event loop, one after another: so many bytes are never made out of few twice at once."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "inflater")

    async def plain(self, message: Compressed) -> bytes:
        """Returns a message as it was before it was compressed.

        Raises:
            MeshError: See `Compressed.plain`.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, message.plain)

    def close(self) -> None:
        """Ends the thread, once it has done what it is at."""
        self._thread.shutdown(wait=False, cancel_futures=True)
