"""Attribution of times across fusion."""

from __future__ import annotations

from itertools import pairwise

import onnx
import pytest

from onnxmesh.graph.measuring.attribution import attribute_times
from onnxmesh.graph.measuring.profiler import ExecutedNode, MeasuredRun
from onnxmesh.graph.reading.node_order import load_graph, topological_order
from tests.zoo.zoo_model import floats, model, node


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A folder for what is measured of the device, once for all tests here."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _own_cache(cache, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))


def chain(tmp_path):
    """x -> a -> b -> c -> y."""
    names = ["x", "a", "b", "c", "y"]
    nodes = [node("Neg", [before], [after]) for before, after in pairwise(names)]
    onnx.save(model(nodes, [floats("x", 4)], [floats("y", 4)]), tmp_path / "chain.onnx")
    return topological_order(load_graph(tmp_path / "chain.onnx"))


@pytest.mark.parametrize(
    ("ran", "expected"),
    [
        ([("", ("a",), 1.0), ("", ("b",), 2.0), ("", ("c",), 3.0), ("", ("y",), 4.0)], (1, 2, 3, 4)),
        # One node for a and b, of which b is three times as dear.
        ([("", ("b",), 4.0), ("", ("c",), 3.0), ("", ("y",), 4.0)], (1, 3, 3, 4)),
        # Another layout: values have other names, the names of nodes identify the values.
        ([("", ("r0",), 1.0), ("b_nchwc", ("r1",), 4.0), ("", ("y",), 5.0)], (1.25, 3.75, 3, 2)),
        # What comes after the last known value goes to the last.
        ([("", ("y",), 9.0), ("", ("r",), 1.0)], (1, 3, 3.6, 2.4)),
        # Nothing is known of single nodes.
        ([], (1, 3, 3.6, 2.4)),
    ],
)
def test_attribution_divides_times_of_fused_nodes(tmp_path, ran, expected):
    """In proportion to estimates, and nothing is lost."""
    nodes = tuple(ExecutedNode(*figures) for figures in ran)
    found = attribute_times(MeasuredRun(nodes, 10.0, {}, 1), chain(tmp_path), [1.0, 3.0, 3.6, 2.4])
    assert found == pytest.approx(expected)
