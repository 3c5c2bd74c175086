"""Frames, joined to few writes."""

from __future__ import annotations

import asyncio

from onnxmesh.http2.server.transport_writer import TransportWriter


class Transport:
    """Keeps what each write had."""

    def __init__(self):
        self.writes = []

    def write(self, data):
        self.writes.append(data)

    def writelines(self, parts):
        self.writes.append(list(parts))


async def opened():
    writer, transport = TransportWriter(asyncio.get_running_loop()), Transport()
    writer.open(transport)
    return writer, transport


async def test_transport_writer_joins_the_frames_of_an_iteration():
    """One write at its end, again in the next iteration."""
    writer, transport = await opened()
    for _ in range(2):
        writer.write(b"a")
        writer.write(memoryview(b"b"))
        assert transport.writes == []
        await asyncio.sleep(0)
        assert transport.writes == [b"ab"]
        transport.writes.clear()


async def test_transport_writer_writes_single_responses_at_once():
    """Behind the frames that were added before; a burst of responses is one write."""
    writer, transport = await opened()
    writer.write(b"a")
    writer.write_response((b"h", b"m", b"t"), 1)
    assert transport.writes == [b"ahmt"]
    writer.write_response((b"h", b"2", b"t"), 1)
    await asyncio.sleep(0)
    for number in (b"3", b"4"):
        writer.write_response((b"h", number, b"t"), 1)
    await asyncio.sleep(0)
    assert transport.writes == [b"ahmt", b"h2t", b"h3th4t"]


async def test_transport_writer_does_not_copy_much():
    """64 KiB and more are handed over as they are."""
    writer, transport = await opened()
    for size in ((64 << 10) - 1, 64 << 10):
        writer.write(bytes(size))
        writer.flush()
    assert transport.writes == [bytes((64 << 10) - 1), [bytes(64 << 10)]]
    writer.write(b"a")
    writer.flush()
    assert transport.writes[2:] == [b"a"]
    writer.flush()
    assert len(transport.writes) == 3


async def test_transport_writer_keeps_frames_until_it_is_opened():
    """And none after it is closed."""
    writer, transport = TransportWriter(asyncio.get_running_loop()), Transport()
    writer.write(b"a")
    await asyncio.sleep(0)
    writer.open(transport)
    assert transport.writes == [b"a"]
    writer.write(b"b")
    writer.close()
    writer.write(b"c")
    await asyncio.sleep(0)
    assert transport.writes == [b"a"]
