"""Requests of random graphs, and the comparison of their answers."""

from __future__ import annotations

import numpy as np
import onnx

from benchmarks.rows_fuzz.graph_builder import LENGTH, WIDTH
from benchmarks.rows_fuzz.random_graph import random_graph
from benchmarks.rows_fuzz.request_bits import (
    PlainRuntime,
    equal_bits,
    requests,
    rows_meet_in_fact,
)


def test_requests_are_tame_and_extreme():
    """In turn, of one row or several, and equal for a seed."""
    rows = requests(7)
    assert max(abs(row).max() for row in rows) > 100 * min(abs(row).max() for row in rows)
    assert all((one == other).all() for one, other in zip(rows, requests(7), strict=True))
    assert {row.shape for row in rows} == {(1, LENGTH, WIDTH)}
    assert {len(row) for row in requests(7, 20, most_rows=3)} == {1, 2, 3}


def test_bits_are_equal_or_not():
    """Zeros of other signs differ; NaNs are equal."""
    assert equal_bits(np.float32([1, np.nan]), np.float32([1, -np.nan]))
    assert not equal_bits(np.float32([0.0]), np.float32([-0.0]))
    assert not equal_bits(np.float32([0.0]), np.float32([[0.0]]))
    assert not equal_bits(np.int64([1]), np.int64([2]))


def test_mixed_graphs_show_it_to_neighbours(tmp_path):
    """Rows of extreme values change the answers of others in most of the graphs that mix them."""
    shown = []
    for seed in range(40):
        if (built := random_graph(seed)).mixed:
            onnx.save(built.model, tmp_path / "m.onnx")
            shown.append(rows_meet_in_fact(tmp_path / "m.onnx", seed))
    assert sum(shown) > len(shown) / 2


def test_plain_runtime_gives_all_outputs(tmp_path):
    """By name and in order."""
    built = random_graph(1)
    onnx.save(built.model, tmp_path / "m.onnx")
    runtime = PlainRuntime(tmp_path / "m.onnx")
    assert list(runtime.outputs) == [output.name for output in built.model.graph.output]
    assert len(runtime.run(requests(1)[0])) == len(runtime.outputs)
