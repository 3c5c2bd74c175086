"""Random graphs against the proof that rows are independent."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from benchmarks.rows_fuzz.graph_builder import LENGTH, WIDTH
from benchmarks.rows_fuzz.mixing_steps import MIXING
from benchmarks.rows_fuzz.random_graph import random_graph
from benchmarks.rows_fuzz.row_wise_steps import ROW_WISE
from onnxmesh.graph.rows.row_analysis import analyse_rows
from onnxmesh.graph.rows.row_state import Mixed, Rows, row_input


@pytest.mark.parametrize("seed", range(80))
def test_random_graph_is_proven_unless_rows_are_mixed(seed):
    """By construction: every graph without a mixing step is proven, and none in whose outputs rows are mixed."""
    built = random_graph(seed)
    states = analyse_rows(ir.from_proto(built.model), {"x": row_input((0, LENGTH, WIDTH))})
    found = [states[output.name].state for output in built.model.graph.output]
    assert any(isinstance(state, Mixed) for state in found) == built.mixed
    assert all(state == Rows(0) for state in found) == (not built.mixed)


def test_random_graphs_use_every_step():
    """Steps that keep rows apart, and steps in which they meet."""
    built = [random_graph(seed) for seed in range(120)]
    assert {name for each in built for name in each.mixing} == {step.__name__ for step in MIXING}
    operators = {node.op_type for each in built for node in each.model.graph.node}
    assert operators >= {"GRU", "Conv", "Loop", "If", "Gemm", "Expand", "Scan"}
    assert len(ROW_WISE) > len(MIXING)


def test_graphs_with_batch_statistics_are_not_repeatable():
    """ONNX Runtime changes the weights of such a node from run to run."""
    for built in map(random_graph, range(60)):
        in_training = [node for node in built.model.graph.node if node.op_type == "BatchNormalization"]
        assert built.repeatable == (not in_training)
