"""What a connection has written, as frames of the library hyperframe."""

from __future__ import annotations

import hyperframe.frame as oracle

from onnxmesh.http2.protocol.frames import FRAME_HEADER_BYTES


class RecordingOutput:
    """Keeps what is written to it."""

    def __init__(self):
        self._written = b""

    def write(self, part):
        self._written += part

    def write_response(self, parts, num_bytes):
        assert num_bytes == 5 + len(parts[1])
        self._written += b"".join(parts)

    def frames(self):
        """Returns and removes the frames that were written."""
        written, self._written = self._written, b""
        frames = []
        while written:
            frame, length = oracle.Frame.parse_frame_header(memoryview(written[:FRAME_HEADER_BYTES]))
            end = FRAME_HEADER_BYTES + length
            assert end <= len(written)
            frame.parse_body(memoryview(written[FRAME_HEADER_BYTES:end]))
            frames.append(frame)
            written = written[end:]
        return frames
