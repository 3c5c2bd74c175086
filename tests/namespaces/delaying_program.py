"""A TCP proxy with a delay: `python -m tests.namespaces.delaying_program LISTEN TARGET DELAY_S`.

The kernel may lack netem. The throughput is unchanged, only the latency is that of a long distance.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys


async def carry(reader, writer, delay_s):
    """Writes what is read, in order, each piece `delay_s` after it was received."""
    loop = asyncio.get_running_loop()
    pieces = asyncio.Queue(maxsize=1024)

    async def write():
        while (piece := await pieces.get()) is not None:
            due, data = piece
            await asyncio.sleep(due - loop.time())
            writer.write(data)
            await writer.drain()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(write())
        while data := await reader.read(1 << 16):
            await pieces.put((loop.time() + delay_s, data))
        await pieces.put(None)
    writer.close()


async def main(listen, target, delay_s):
    async def connected(reader, writer):
        with contextlib.suppress(OSError, ExceptionGroup):
            ahead, back = await asyncio.open_connection(*target.split(":"))
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(carry(reader, back, float(delay_s)))
                tasks.create_task(carry(ahead, writer, float(delay_s)))

    host, port = listen.split(":")
    server = await asyncio.start_server(connected, host, int(port))
    print("ready", flush=True)  # noqa: T201 - the test reads it
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
