"""Conversion of sparse tensors to dense ones, which ONNX Runtime computes with anyway."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from onnxmesh.errors import InvalidModel


def make_dense(graph: onnx.GraphProto, folder: Path) -> None:
    """Replaces the sparse initialisers and constants of a graph and its subgraphs by dense ones, in place.

    onnx-ir has no sparse tensors and would drop them.

    Args:
        graph: The graph.
        folder: Folder of the model, which contains its external data.

    Raises:
        InvalidModel: A sparse initialiser is malformed (INVALID_ARGUMENT).
    """
    for sparse in graph.sparse_initializer:
        graph.initializer.append(_dense(sparse, folder))
    del graph.sparse_initializer[:]
    make_constants_dense(graph.node, folder)


def make_constants_dense(nodes: Iterable[onnx.NodeProto], folder: Path) -> None:
    """Replaces sparse constants in the attributes of nodes by dense ones, in place; subgraphs included.

    Raises:
        InvalidModel: A sparse tensor is malformed (INVALID_ARGUMENT).
    """
    for node in nodes:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.SPARSE_TENSOR and node.op_type == "Constant":
                dense = _dense(attribute.sparse_tensor, folder)
                attribute.CopyFrom(
                    onnx.AttributeProto(name="value", type=onnx.AttributeProto.TENSOR, t=dense)
                )
            if attribute.HasField("g"):
                make_dense(attribute.g, folder)
            for subgraph in attribute.graphs:
                make_dense(subgraph, folder)


def _dense(sparse: onnx.SparseTensorProto, folder: Path) -> onnx.TensorProto:
    """Returns the dense tensor; indices are of shape (n,) into the flattened tensor, or (n, rank)."""
    name = sparse.values.name
    shape = tuple(sparse.dims)
    try:
        values = numpy_helper.to_array(sparse.values, str(folder))
        indices = numpy_helper.to_array(sparse.indices, str(folder)).astype(np.int64)
        flat = np.ravel_multi_index(tuple(indices.T), shape) if indices.ndim == 2 else indices
        dense = np.zeros(shape, dtype=values.dtype)
        dense.reshape(-1)[flat] = values
    except (ValueError, IndexError, TypeError) as error:
        raise InvalidModel(f"sparse initialiser '{name}' is malformed: {error}") from error
    tensor = numpy_helper.from_array(dense, name)
    # The element type of the values: NumPy may represent it as another of the same width.
    tensor.data_type = sparse.values.data_type
    return tensor
