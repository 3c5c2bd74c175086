"""Thread that decompresses large messages."""

from __future__ import annotations

import gzip
import threading

import pytest

from onnxmesh.errors import Internal, TooLarge
from onnxmesh.http2.protocol.compressed_messages import CompressedMessage
from onnxmesh.http2.server.decompressor import Decompressor


class RecordingMessage(CompressedMessage):
    """Records the thread that decompresses it."""

    threads = ()

    def decompress(self):
        self.threads = (*self.threads, threading.current_thread())
        return super().decompress()


async def test_decompressor_decompresses_in_one_thread_of_its_own():
    """Errors of malformed messages are raised to who waits."""
    decompressor = Decompressor()
    messages = [RecordingMessage(gzip.compress(bytes(size)), "gzip", 1_000) for size in (0, 1_000)]
    assert [await decompressor.decompress(each) for each in messages] == [b"", bytes(1_000)]
    (thread,) = {thread for each in messages for thread in each.threads}
    assert thread is not threading.current_thread()
    with pytest.raises(TooLarge):
        await decompressor.decompress(CompressedMessage(gzip.compress(bytes(1_001)), "gzip", 1_000))
    with pytest.raises(Internal):
        await decompressor.decompress(CompressedMessage(b"a", "gzip", 1_000))
    decompressor.close()
    with pytest.raises(RuntimeError):
        await decompressor.decompress(messages[0])


async def test_decompressor_compresses_in_its_thread():
    """What does not become shorter is left as it is."""
    decompressor = Decompressor()
    assert gzip.decompress(await decompressor.compress(bytes(10_000))) == bytes(10_000)
    assert await decompressor.compress(b"short") is None
    decompressor.close()
