"""Sparse initialisers, made dense: ONNX Runtime computes with dense ones anyway."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

from onnxmesh.errors import InvalidModel


def make_dense(graph: onnx.GraphProto) -> None:
    """Replaces the sparse initialisers of a graph and its subgraphs by dense ones of the same name, in place.

    onnx-ir does not know sparse initialisers and would lose them.

    Raises:
        InvalidModel: A sparse initialiser is malformed (INVALID_ARGUMENT).
    """
    for sparse in graph.sparse_initializer:
        graph.initializer.append(_dense(sparse))
    del graph.sparse_initializer[:]
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                make_dense(attribute.g)
            for subgraph in attribute.graphs:
                make_dense(subgraph)


def _dense(sparse: onnx.SparseTensorProto) -> onnx.TensorProto:
    """Returns the dense tensor; indices count elements of the flattened tensor, or have a row for each."""
    name = sparse.values.name
    shape = tuple(sparse.dims)
    try:
        values = numpy_helper.to_array(sparse.values)
        indices = numpy_helper.to_array(sparse.indices).astype(np.int64)
        flat = np.ravel_multi_index(tuple(indices.T), shape) if indices.ndim == 2 else indices
        dense = np.zeros(shape, dtype=values.dtype)
        dense.reshape(-1)[flat] = values
    except (ValueError, IndexError, TypeError) as error:
        raise InvalidModel(f"sparse initialiser '{name}' is malformed: {error}") from error
    tensor = numpy_helper.from_array(dense, name)
    # The values' own type: NumPy may have read it as another of the same width.
    tensor.data_type = sparse.values.data_type
    return tensor
