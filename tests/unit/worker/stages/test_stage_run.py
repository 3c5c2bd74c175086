"""Runs of a session: a batch is split exactly."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.tensors.arrays import from_array, to_array
from onnxmesh.tensors.datatype import NUMPY, Datatype
from services.worker.stages.stage_run import run_requests
from tests.fakes.row_session import RowSession
from tests.unit.worker.stage_requests import request, rule, spec

arrays = st.builds(
    lambda datatype, num_rows, width, seed: (
        np.random.default_rng(seed).integers(0, 100, (num_rows, width)).astype(NUMPY[datatype])
    ),
    st.sampled_from([Datatype.UINT8, Datatype.INT64, Datatype.FP16, Datatype.FP32]),
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(0, 2**32 - 1),
)


@given(st.lists(arrays, min_size=1, max_size=6), st.data())
def test_run_requests_splits_a_batch_exactly(made, data):
    """Each request gets the same result as alone, and only its own outputs, whatever the others request."""
    first = made[0]
    alike = [array for array in made if array.dtype == first.dtype and array.shape[1:] == first.shape[1:]]
    wanted = data.draw(
        st.lists(st.sampled_from([(), ("y",), ("z",), ("z", "y")]), min_size=len(alike), max_size=len(alike))
    )
    kind = from_array("x", first).datatype
    stage = spec(outputs=("y", "z"), live_out=("y", "z"), batching=rule(100, inputs=(("x", kind),)))
    requests = [
        request(number, stages=("m/1/0",), tensors={"x": from_array("x", array)}, outputs=names)
        for number, (array, names) in enumerate(zip(alike, wanted, strict=True))
    ]
    session = RowSession(opened=True)
    together = run_requests(session, requests, stage)
    assert session.runs == [sum(map(len, alike))]
    for it, outcome in zip(requests, together, strict=True):
        (alone,) = run_requests(session, [it], stage)
        assert outcome.computed.keys() == alone.computed.keys()
        for name, expected in alone.computed.items():
            got = outcome.computed[name]
            assert (got.datatype, got.shape) == (expected.datatype, expected.shape)
            assert np.array_equal(to_array(got), to_array(expected))
