"""Datatypes of tensors."""

from __future__ import annotations

from onnxmesh.tensors.datatype import DATATYPES_BY_NAME, NUMPY, Datatype


def test_datatype_byte_size_packs_small_elements():
    """Two 4-bit elements share a byte, an odd one gets a byte; that of BYTES depends on the elements."""
    assert Datatype.INT4.byte_size(3) == 2
    assert Datatype.INT4.byte_size(0) == 0
    assert Datatype.FP16.byte_size(3) == 6
    assert Datatype.BYTES.byte_size(3) is None


def test_datatype_bits_agree_with_numpy():
    """For every datatype that NumPy has an element type for."""
    assert all(dtype.itemsize * 8 == datatype.bits for datatype, dtype in NUMPY.items())


def test_datatype_in_protocol_excludes_types_of_onnx_alone():
    """Clients can send all types that NumPy has, BF16 and BYTES, and no others."""
    assert {each for each in Datatype if each.in_protocol} == {*NUMPY, Datatype.BF16, Datatype.BYTES}
    assert all(DATATYPES_BY_NAME[each.value] is each for each in Datatype)
