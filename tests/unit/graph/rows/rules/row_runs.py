"""Runs of a model with rows alone and together, and the comparison that a proof promises to hold."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort

from onnxmesh.graph.rows.row_analysis import analyse_rows
from onnxmesh.graph.rows.row_state import Rows, RowValue, Shared
from onnxmesh.graph.rows.sizes import ROWS


def known_inputs(feeds, with_rows):
    """Returns what is known about inputs of one row for each array."""
    return {
        name: RowValue(
            Rows(with_rows[name], 1, arrays[0].shape[with_rows[name]]),
            tuple(
                ROWS * size if axis == with_rows[name] else size for axis, size in enumerate(arrays[0].shape)
            ),
        )
        for name, arrays in feeds.items()
    }


def states_of(model: onnx.ModelProto, feeds, with_rows) -> dict[str, RowValue]:
    """Returns what the analysis finds about the outputs."""
    found = analyse_rows(ir.from_proto(model), known_inputs(feeds, with_rows))
    return {value.name: found[value.name] for value in model.graph.output}


def session_of(model: onnx.ModelProto) -> ort.InferenceSession:
    """Loads a model without optimisation on one thread."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def run(session, feeds):
    """Returns the outputs by name."""
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def rows_of(array, state: Rows, row: int, num_rows: int):
    """Returns the slice of an array that belongs to one row."""
    assert isinstance(state.inner, int)
    assert isinstance(state.outer, int)
    assert array.shape[state.axis] == state.outer * num_rows * state.inner
    indices = [
        o * num_rows * state.inner + row * state.inner + k
        for o in range(state.outer)
        for k in range(state.inner)
    ]
    return np.take(array, indices, axis=state.axis)


def check_promise(session, states, feeds, with_rows, *, exact=False):
    """Asserts that rows together give what each gives alone, wherever the analysis marks them as row-wise."""
    num_rows = len(next(iter(feeds.values())))
    together = run(session, {name: np.concatenate(arrays, with_rows[name]) for name, arrays in feeds.items()})
    for row in range(num_rows):
        alone = run(session, {name: arrays[row] for name, arrays in feeds.items()})
        for name, known in states.items():
            if isinstance(known.state, Rows):
                found = rows_of(together[name], known.state, row, num_rows)
            elif isinstance(known.state, Shared):
                found = together[name]
            else:
                continue
            assert found.shape == alone[name].shape, (name, known, found.shape, alone[name].shape)
            assert same(found, alone[name], exact=exact), (name, known.state, row)


def same(one, other, *, exact=False):
    """Whether two arrays are equal, floats nearly so unless `exact`."""
    if one.dtype.kind != "f" or exact:
        return np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
    return np.allclose(one, other, rtol=1e-4, atol=1e-4, equal_nan=True)
