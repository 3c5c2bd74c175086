"""Frames with compressed tensors."""

from __future__ import annotations

import numpy as np
import pytest

from onnxmesh.errors import CorruptData
from onnxmesh.rpc.frames.compressed_frames import compressed_frame, decompressed_frame, is_compressed
from onnxmesh.rpc.frames.frame_tensors import read_tensors, write_tensors
from onnxmesh.rpc.frames.frames import Frame
from onnxmesh.tensors.arrays import from_array
from onnxmesh.tensors.compression.codec import encode_elements
from onnxmesh.tensors.compression.encoding import Encoding
from onnxmesh.v1.frame_pb2 import Cancel, FrameHeader, HopTiming, Result

TENSORS = (from_array("small", np.arange(3)), from_array("large", np.zeros((2, 500), np.float32)))


def plain():
    header = FrameHeader(result=Result(timings=[HopTiming(stage="m/1/0"), HopTiming(stage="m/1/1")]))
    return Frame(header, write_tensors(header.result, TENSORS))


@pytest.mark.parametrize("encoding", [each for each in Encoding if each is not Encoding.NONE])
def test_decompressed_frame_restores_what_compressed_frame_encoded(encoding):
    """Header and tensors, apart from the sizes in the last hop's timing; the given frame is not changed."""
    frame = plain()
    compressed = compressed_frame(frame, {1: encode_elements(TENSORS[1], encoding)})
    assert is_compressed(compressed)
    assert not is_compressed(frame)
    first, last = compressed.header.result.timings
    assert (first.plain_bytes, first.wire_bytes) == (0, 0)
    assert (last.plain_bytes, last.wire_bytes) == (frame.payload_bytes, compressed.payload_bytes)
    restored = decompressed_frame(compressed)
    assert not is_compressed(restored)
    assert read_tensors(restored.header.result, restored.payloads) == TENSORS


def test_decompressed_frame_refuses_an_unknown_encoding():
    """By the tensor's name."""
    compressed = compressed_frame(plain(), {1: encode_elements(TENSORS[1], Encoding.ZSTD)})
    compressed.header.result.tensors[1].encoding = 77
    with pytest.raises(CorruptData, match="'large' is in the unknown encoding 77"):
        decompressed_frame(compressed)


def test_is_compressed_is_false_for_frames_without_tensors():
    """Of any kind."""
    assert not is_compressed(Frame(FrameHeader(cancel=Cancel())))
