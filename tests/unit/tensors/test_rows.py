"""Tensors put together and taken apart."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.tensors.arrays import from_array, to_array
from onnxmesh.tensors.datatype import NUMPY, Datatype
from onnxmesh.tensors.rows import concat_rows, has_rows, split_rows
from onnxmesh.tensors.tensor import Tensor


@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=6),
    st.lists(st.integers(0, 3), max_size=2),
    st.sampled_from(sorted(NUMPY)),
    st.integers(0, 2**32 - 1),
)
def test_split_rows_reverses_concat_rows(rows, rest, datatype, seed):
    """Whatever the sizes, empty ones too: as NumPy concatenates, in memory that every kernel can use in place."""
    rng = np.random.default_rng(seed)
    arrays = [rng.integers(0, 2, (count, *rest)).astype(NUMPY[datatype]) for count in rows]
    whole = concat_rows([from_array("x", array) for array in arrays])
    assert np.array_equal(to_array(whole), np.concatenate(arrays))
    if whole.byte_size:
        assert np.frombuffer(whole.data, np.uint8).ctypes.data % 64 == 0
    for piece, array in zip(split_rows(whole, rows), arrays, strict=True):
        assert (piece.name, piece.datatype, piece.shape) == ("x", datatype, array.shape)
        assert np.array_equal(to_array(piece), array)


@pytest.mark.parametrize("datatype", [Datatype.BF16, Datatype.FLOAT8E4M3FN])
def test_concat_rows_works_for_types_that_numpy_lacks(datatype):
    """Bytes are all that counts."""
    size = datatype.byte_size(3)
    tensors = [Tensor("x", datatype, (1, 3), bytes([number]) * size) for number in range(3)]
    assert has_rows(datatype)
    assert [bytes(piece.data) for piece in split_rows(concat_rows(tensors), [1, 1, 1])] == [
        tensor.data for tensor in tensors
    ]


@pytest.mark.parametrize("datatype", [Datatype.BYTES, Datatype.INT4, Datatype.UINT4])
def test_has_rows_is_false_for_strings_and_packed_elements(datatype):
    """A row of them is no slice of their bytes."""
    assert not has_rows(datatype)
