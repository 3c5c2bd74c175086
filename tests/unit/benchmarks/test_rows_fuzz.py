"""Random graphs against the proof that rows are independent."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from benchmarks.rows_fuzz import (
    LENGTH,
    MIXING,
    STEPS,
    WIDTH,
    examine,
    random_graph,
    requests,
    rows_meet_in_fact,
)
from onnxmesh.graph.rows.row_analysis import analyse_rows
from onnxmesh.graph.rows.row_state import Mixed, Rows, row_input


def outputs_of(built):
    states = analyse_rows(ir.from_proto(built.model), {"x": row_input((0, LENGTH, WIDTH))})
    return [states[output.name].state for output in built.model.graph.output]


@pytest.mark.parametrize("seed", range(80))
def test_random_graph_is_proven_unless_rows_are_mixed(seed):
    """By construction: every graph without a mixing step is proven, and none in whose outputs rows are mixed."""
    built = random_graph(seed)
    states = outputs_of(built)
    assert any(isinstance(state, Mixed) for state in states) == built.mixed
    assert all(state == Rows(0) for state in states) == (not built.mixed)


@pytest.mark.parametrize("seed", [0, 1, 2, 3, 5, 8])
def test_batches_of_a_random_graph_have_the_bits_of_single_runs(seed, tmp_path):
    """Through the steps of a deployment, in one to three stages."""
    verdict = examine(seed, tmp_path, 1 + seed % 3)
    assert verdict.wrong == 0
    assert not (verdict.mixed and verdict.proven)


def test_random_graphs_use_every_step():
    """Steps that keep rows apart, and steps in which they meet."""
    built = [random_graph(seed) for seed in range(100)]
    assert {name for each in built for name in each.mixing} == {step.__name__ for step in MIXING}
    operators = {node.op_type for each in built for node in each.model.graph.node}
    assert operators >= {"GRU", "Conv", "Loop", "If", "Gemm", "Expand"}
    assert len(STEPS) > len(MIXING)


def test_mixed_graphs_show_it_to_neighbours():
    """Rows of extreme values change the answers of others in most of the graphs that mix them."""
    mixed = [(seed, built) for seed in range(40) if (built := random_graph(seed)).mixed]
    shown = sum(rows_meet_in_fact(built, seed) for seed, built in mixed)
    assert shown > len(mixed) / 2


def test_requests_are_tame_and_extreme():
    """In turn, and equal for a seed."""
    rows = requests(7)
    assert max(abs(row).max() for row in rows) > 100 * min(abs(row).max() for row in rows)
    assert all((one == other).all() for one, other in zip(rows, requests(7), strict=True))
