"""Bounds of inputs that are indices."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from onnxmesh.graph.reading.index_bounds import index_bounds
from onnxmesh.graph.reading.node_order import load_graph, topological_order
from tests.zoo.zoo_model import floats, integers, model, node


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A folder for what is measured of the device, once for all tests here."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _own_cache(cache, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))


def test_index_bounds_are_the_sizes_of_tables(tmp_path):
    """The smaller of two tables counts, also behind a Cast; what picks from nothing known has no bound."""
    nodes = [
        node("Gather", ["small", "ids"], ["a"]),
        node("Cast", ["ids"], ["wide"], to=onnx.TensorProto.INT32),
        node("Gather", ["large", "wide"], ["b"]),
        node("Gather", ["table", "columns"], ["c"], axis=1),
        node("Cast", ["free"], ["d"], to=onnx.TensorProto.FLOAT),
    ]
    weights = {
        "small": np.zeros((7, 2), np.float32),
        "large": np.zeros((900, 2), np.float32),
        "table": np.zeros((3, 50), np.float32),
    }
    outputs = [floats(name, None, None) for name in "abc"] + [floats("d", "N")]
    onnx.save(
        model(nodes, [integers(name, "N") for name in ("ids", "columns", "free")], outputs, weights),
        tmp_path / "m.onnx",
    )
    assert index_bounds(topological_order(load_graph(tmp_path / "m.onnx"))) == {"ids": 7, "columns": 50}
