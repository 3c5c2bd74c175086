"""HTTP/2 client that sends frames made by hand, valid or not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from hpack import Decoder, Encoder

from onnxmesh.http2.protocol.frames import FRAME_HEADER_BYTES, PREFACE, FrameType, frame, settings_frame

END_STREAM, END_HEADERS = 1, 4


class RawClient:
    """One connection.

    Attributes:
        received: Type, flags, stream and payload of each frame.
    """

    def __init__(self, reader, writer):
        self._reader = reader
        self._writer = writer
        self._encoder = Encoder()
        self._decoder = Decoder()
        self.received = []
        self._fields = {}

    def send(self, *parts: bytes) -> None:
        """Sends bytes as they are."""
        self._writer.write(b"".join(parts))

    def block(self, path="/test.Edge/Echo", **changes) -> bytes:
        """Returns the header block of a request, with changed headers; None: without one."""
        fields = {
            ":method": "POST",
            ":scheme": "http",
            ":path": path,
            ":authority": "here",
            "te": "trailers",
            "content-type": "application/grpc",
        }
        fields |= {name.replace("_", "-"): value for name, value in changes.items()}
        return self._encoder.encode([(name, value) for name, value in fields.items() if value is not None])

    def headers(self, stream: int, path="/test.Edge/Echo", *, end=False, **changes) -> bytes:
        """Returns HEADERS of a request."""
        flags = END_HEADERS | (END_STREAM if end else 0)
        return frame(FrameType.HEADERS, flags, stream, self.block(path, **changes))

    def data(self, stream: int, message: bytes | None = b"hello", *, end=True) -> bytes:
        """Returns DATA with a message; None: empty."""
        payload = b"" if message is None else b"\0" + len(message).to_bytes(4, "big") + message
        return frame(FrameType.DATA, END_STREAM if end else 0, stream, payload)

    async def next(self) -> tuple[int, int, int, bytes]:
        """Returns the next frame.

        Raises:
            asyncio.IncompleteReadError: The server has closed the connection.
            ConnectionError: It has closed it while more was sent.
        """
        async with asyncio.timeout(30):
            head = await self._reader.readexactly(FRAME_HEADER_BYTES)
            payload = await self._reader.readexactly(int.from_bytes(head[:3], "big"))
        got = head[3], head[4], int.from_bytes(head[5:], "big"), payload
        self.received.append(got)
        return got

    async def until(self, kind: FrameType, stream: int | None = None) -> tuple[int, int, int, bytes]:
        """Returns the next frame of a type, and skips others."""
        while True:
            got = await self.next()
            if got[0] == kind and stream in (None, got[2]):
                return got

    async def closed(self) -> None:
        """Returns once the server has closed the connection."""
        try:
            while True:
                await self.next()
        except (asyncio.IncompleteReadError, ConnectionError):
            return

    async def status(self, stream: int) -> dict[str, str]:
        """Returns the headers and trailers of a whole response."""
        while True:
            got = await self.next()
            if got[0] == FrameType.HEADERS:
                fields = self._fields.setdefault(got[2], {})
                # Every block changes the dynamic table, of whichever stream.
                fields |= self._decoder.decode(got[3])
                if got[2] == stream and (got[1] & END_STREAM or fields[":status"] != "200"):
                    return fields

    def statuses(self) -> dict[int, dict[str, str]]:
        """Returns the headers and trailers that `status` has read, by stream."""
        return self._fields

    async def error(self, kind: FrameType = FrameType.GOAWAY) -> int:
        """Returns the code of the next GOAWAY or RST_STREAM."""
        payload = (await self.until(kind))[3]
        return int.from_bytes(payload[4:8] if kind == FrameType.GOAWAY else payload, "big")


@asynccontextmanager
async def raw_client(address: str, begin: bytes | None = None) -> AsyncIterator[RawClient]:
    """Connects, and sends the preface and empty SETTINGS, if nothing else is given."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    client = RawClient(reader, writer)
    client.send(PREFACE + settings_frame({}) if begin is None else begin)
    try:
        yield client
    finally:
        writer.transport.abort()
