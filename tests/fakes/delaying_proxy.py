"""A TCP proxy that delays everything that passes it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager


class DelayingProxy:
    """Forwards bytes to an address, each piece a fixed time after it was received; made by `delaying_proxy`.

    Attributes:
        address: `HOST:PORT` of the proxy.
        delay_s: Delay in each direction.
    """

    def __init__(self, target, delay_s):
        self.address = ""
        self.delay_s = delay_s
        self._target = target
        self._tasks = set()

    async def _accept(self, reader, writer):
        host, _, port = self._target.rpartition(":")
        try:
            there, back = await asyncio.open_connection(host, int(port))
        except OSError:
            writer.close()
            return
        for source, sink in ((reader, back), (there, writer)):
            task = asyncio.ensure_future(self._forward(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _forward(self, source, sink):
        loop = asyncio.get_running_loop()
        pieces = asyncio.Queue()

        async def deliver():
            while True:
                at_s, piece = await pieces.get()
                await asyncio.sleep(max(0.0, at_s - loop.time()))
                if not piece:
                    return
                sink.write(piece)
                await sink.drain()

        delivering = asyncio.ensure_future(deliver())
        try:
            while True:
                piece = await source.read(1 << 16)
                pieces.put_nowait((loop.time() + self.delay_s, piece))
                if not piece:
                    break
            await delivering
        except OSError:
            pass
        finally:
            delivering.cancel()
            sink.close()


@asynccontextmanager
async def delaying_proxy(target, delay_s):
    """Yields a proxy to an address, for the time of the context."""
    proxy = DelayingProxy(target, delay_s)
    server = await asyncio.start_server(proxy._accept, "127.0.0.1", 0)
    proxy.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        tasks = list(proxy._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
