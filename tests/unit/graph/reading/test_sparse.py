"""Sparse tensors made dense."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from onnxmesh.errors import InvalidModel
from onnxmesh.graph.reading.sparse import make_constants_dense, make_dense


def sparse(indices, dims=(2, 3)) -> onnx.SparseTensorProto:
    """Returns a sparse tensor with the values 5 and 7."""
    values = numpy_helper.from_array(np.array([5, 7], np.float32), "w")
    return helper.make_sparse_tensor(
        values, numpy_helper.from_array(np.array(indices, np.int64), "i"), list(dims)
    )


@pytest.mark.parametrize("indices", [[1, 5], [[0, 1], [1, 2]]])
def test_make_dense_reads_flat_and_multidimensional_indices(indices, tmp_path):
    """Both forms are of the same tensor."""
    graph = onnx.GraphProto(sparse_initializer=[sparse(indices)])
    make_dense(graph, tmp_path)
    (dense,) = graph.initializer
    assert dense.name == "w"
    assert numpy_helper.to_array(dense).tolist() == [[0, 5, 0], [0, 0, 7]]
    assert not graph.sparse_initializer


def test_make_constants_dense_replaces_the_attribute(tmp_path):
    """`sparse_value` becomes `value`."""
    attribute = onnx.AttributeProto(
        name="sparse_value", type=onnx.AttributeProto.SPARSE_TENSOR, sparse_tensor=sparse([0, 4])
    )
    constant = onnx.NodeProto(op_type="Constant", output=["c"], attribute=[attribute])
    make_constants_dense([constant], tmp_path)
    assert constant.attribute[0].name == "value"
    assert numpy_helper.to_array(constant.attribute[0].t).tolist() == [[5, 0, 0], [0, 7, 0]]


def test_make_dense_names_a_malformed_tensor(tmp_path):
    """An index beyond the shape."""
    with pytest.raises(InvalidModel, match="sparse initialiser 'w' is malformed"):
        make_dense(onnx.GraphProto(sparse_initializer=[sparse([1, 6])]), tmp_path)
