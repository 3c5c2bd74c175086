"""Weights files: layout, sharing and digests."""

from __future__ import annotations

import hashlib

import numpy as np
import onnx_ir as ir

from onnxmesh.graph.cutting.weights_file import (
    FILE_ALIGNMENT,
    MIN_EXTERNAL_TENSOR_BYTES,
    externalise_weights,
    write_weights,
)
from onnxmesh.graph.reading.loaded_tensor import load_tensor


def initialiser(name: str, tensor: ir.TensorProtocol) -> ir.Value:
    """Returns an initialiser of a graph."""
    return ir.Value(name=name, const_value=tensor)


def test_weights_file_has_aligned_segments_and_their_digest(tmp_path):
    """Two tensors of 1000 and 600 floats; a small one stays in the model."""
    arrays = {
        "a": np.arange(1000, dtype=np.float32),
        "b": np.full(600, 7, np.float32),
        "c": np.ones(2, np.float32),
    }
    assert arrays["c"].nbytes < MIN_EXTERNAL_TENSOR_BYTES
    values = [initialiser(name, ir.tensor(array, name=name)) for name, array in arrays.items()]
    segments = externalise_weights(values, tmp_path, "w")
    assert [(segment.offset, segment.num_bytes) for segment in segments] == [
        (0, 4000),
        (FILE_ALIGNMENT, 2400),
    ]
    listed = write_weights(tmp_path / "w", segments)
    content = (tmp_path / "w").read_bytes()
    assert content[:4000] == arrays["a"].tobytes()
    assert content[FILE_ALIGNMENT:] == arrays["b"].tobytes()
    assert (listed.sha256, listed.num_bytes) == (hashlib.sha256(content).hexdigest(), FILE_ALIGNMENT + 2400)
    assert not isinstance(values[2].const_value, ir.ExternalTensor)
    loaded = load_tensor(values[1].const_value)
    assert loaded.numpy().tolist() == arrays["b"].tolist()


def test_weights_of_one_source_range_share_a_segment(tmp_path):
    """Two names of one range of one file."""
    (tmp_path / "source").write_bytes(np.arange(1000, dtype=np.float32).tobytes())
    values = [
        initialiser(
            name,
            ir.ExternalTensor(
                "source", 0, 4000, ir.DataType.FLOAT, shape=ir.Shape([1000]), name=name, base_dir=tmp_path
            ),
        )
        for name in ("a", "b")
    ]
    assert len(externalise_weights(values, tmp_path / "home", "w")) == 1
    assert [value.const_value.offset for value in values] == [0, 0]
