"""Encodings by name, step and datatype."""

from __future__ import annotations

from onnxmesh.tensors.compression.encoding import ROUNDINGS, Encoding
from onnxmesh.tensors.datatype import Datatype
from onnxmesh.v1 import frame_pb2


def test_encoding_numbers_are_those_of_the_protocol():
    """Each encoding has the number of the value of the same name in frame.proto."""
    for each in Encoding:
        assert frame_pb2.Tensor.Encoding.Value(each.name) == each


def test_encoding_labels_name_its_steps():
    """In the words of options and metrics."""
    assert [each.label for each in Encoding] == ["none", "zstd", "fp16", "int8", "fp16+zstd", "int8+zstd"]
    assert {each.rounding for each in Encoding} == {Encoding.NONE, *ROUNDINGS}


def test_encoding_accepts_only_datatypes_that_get_smaller():
    """Rounding is for floats with more bits; Zstandard for any type."""
    accepted = {each: {one for one in Datatype if each.accepts(one)} for each in Encoding}
    assert accepted[Encoding.ZSTD] == set(Datatype)
    assert accepted[Encoding.FP16] == accepted[Encoding.FP16_ZSTD] == {Datatype.FP32, Datatype.FP64}
    assert accepted[Encoding.INT8] == {Datatype.FP16, Datatype.FP32, Datatype.FP64}


def test_encoding_stored_bits_are_those_before_zstandard():
    """Rounded ones have those of their rounding, the others those of the datatype."""
    assert Encoding.FP16_ZSTD.stored_bits(Datatype.FP64) == 16
    assert Encoding.INT8.stored_bits(Datatype.FP32) == 8
    assert Encoding.ZSTD.stored_bits(Datatype.FP32) == 32
