"""Chunking: large frames into chunks for one stream, and chunks back into frames."""

from __future__ import annotations

from collections.abc import Iterator

from onnxmesh.errors import CorruptData
from onnxmesh.rpc.frames.frame_tensors import check_payloads, frame_body
from onnxmesh.rpc.frames.frames import Frame
from onnxmesh.v1.frame_pb2 import Activation, Chunk, FrameHeader, RequestKey, Result

DEFAULT_CHUNK_BYTES = 1 << 20
"""Messages of about 1 MB are fastest: one is copied while the last one is sent, and both stay in the cache."""

_Key = tuple[str, int, int]
_Partial = tuple[Frame, list[bytearray]]


def split_frame(frame: Frame, chunk_bytes: int = DEFAULT_CHUNK_BYTES) -> Iterator[Frame]:
    """Yields `frame` itself if its payloads fit into one chunk, else its header and then its chunks.

    Only Activations and Results have payloads.
    """
    if frame.payload_bytes <= chunk_bytes:
        yield frame
        return
    header = FrameHeader()
    header.CopyFrom(frame.header)
    body = frame_body(header)
    assert body is not None, "a frame with tensors"
    body.chunked = True
    hop = _hop(body)
    yield Frame(header)
    chunks = [
        (tensor, offset)
        for tensor, payload in enumerate(frame.payloads)
        for offset in range(0, len(payload), chunk_bytes)
    ]
    for tensor, offset in chunks:
        last = (tensor, offset) == chunks[-1]
        chunk = Chunk(key=body.key, hop=hop, tensor=tensor, offset=offset, last=last)
        payload = memoryview(frame.payloads[tensor])[offset : offset + chunk_bytes]
        yield Frame(FrameHeader(chunk=chunk), (payload,))


class Assembler:
    """Assembles the frames of one stream from chunks. Belongs to that stream's reader.

    Chunks of several frames may interleave, also those of one request's Activations for several hops.
    """

    def __init__(self) -> None:
        self._partial: dict[_Key, dict[int, _Partial]] = {}

    @property
    def num_partial(self) -> int:
        """Frames of which chunks are missing."""
        return sum(map(len, self._partial.values()))

    def feed(self, frame: Frame) -> Frame | None:
        """Handles the next frame of the stream; returns a whole one, or None while chunks are missing.

        Raises:
            CorruptData: A chunk of an unknown tensor or out of order, or payloads that do not match the tensors of
                their header (DATA_LOSS).
        """
        kind = frame.header.WhichOneof("kind")
        if kind == "chunk":
            return self._chunk(frame)
        if kind == "cancel":
            self._partial.pop(_identity(frame.header.cancel.key), None)
        elif (body := frame_body(frame.header)) is not None:
            if body.chunked:
                buffers = [bytearray() for _ in body.tensors]
                self._partial.setdefault(_identity(body.key), {})[_hop(body)] = (frame, buffers)
                return None
            check_payloads(body, frame.payloads)
        return frame

    def _chunk(self, frame: Frame) -> Frame | None:
        chunk = frame.header.chunk
        key = _identity(chunk.key)
        of_request = self._partial.get(key, {})
        if chunk.hop not in of_request:
            # Its request was cancelled while chunks were in flight.
            return None
        whole, buffers = of_request[chunk.hop]
        if chunk.tensor >= len(buffers) or len(frame.payloads) != 1:
            raise CorruptData(
                f"expected a chunk of one of {len(buffers)} tensors, got one of tensor {chunk.tensor}"
            )
        buffer = buffers[chunk.tensor]
        if chunk.offset != len(buffer):
            raise CorruptData(
                f"tensor {chunk.tensor}: expected the chunk at {len(buffer)}, got that at {chunk.offset}"
            )
        buffer += frame.payloads[0]
        if not chunk.last:
            return None
        del of_request[chunk.hop]
        if not of_request:
            del self._partial[key]
        header = FrameHeader()
        header.CopyFrom(whole.header)
        body = frame_body(header)
        assert body is not None, "a frame with tensors"
        body.chunked = False
        payloads = tuple(memoryview(buffer) for buffer in buffers)
        check_payloads(body, payloads)
        return Frame(header, payloads)


def _identity(key: RequestKey) -> _Key:
    return key.origin, key.number, key.attempt


def _hop(body: Activation | Result) -> int:
    return body.hop if isinstance(body, Activation) else 0
