"""A way between two processes that takes longer than it would."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager


class SlowWay:
    """Passes bytes on to an address, each piece some time after it came; made by `slow_way`.

    Attributes:
        address: Where it is entered.
        delay_s: How much later everything arrives, in each direction.
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
            task = asyncio.ensure_future(self._pass_on(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass_on(self, source, sink):
        loop = asyncio.get_running_loop()
        arriving = asyncio.Queue()

        async def arrive():
            while True:
                at_s, piece = await arriving.get()
                await asyncio.sleep(max(0.0, at_s - loop.time()))
                if not piece:
                    return
                sink.write(piece)
                await sink.drain()

        arrival = asyncio.ensure_future(arrive())
        try:
            while True:
                piece = await source.read(1 << 16)
                arriving.put_nowait((loop.time() + self.delay_s, piece))
                if not piece:
                    break
            await arrival
        except OSError:
            pass
        finally:
            arrival.cancel()
            sink.close()


@asynccontextmanager
async def slow_way(target, delay_s):
    """Gives a slow way to an address for the time of the context."""
    way = SlowWay(target, delay_s)
    server = await asyncio.start_server(way._accept, "127.0.0.1", 0)
    way.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield way
    finally:
        server.close()
        tasks = list(way._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
