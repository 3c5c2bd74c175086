"""The parameter `mesh.trace`."""

from __future__ import annotations

import pytest

from onnxmesh.client import RouteTrace
from onnxmesh.errors import CorruptData


def test_trace_is_parsed_or_refused():
    """What the gateway promises is read; anything else is corrupt data."""
    text = (
        '{"total_us": 5, "attempts": 1, "return_us": 1.5,'
        ' "hops": [{"stage": "m/1/0", "worker": "w", "queue_us": 1, "compute_us": 2, "wire_us": 3}]}'
    )
    trace = RouteTrace.from_json(text)
    assert (trace.total_us, trace.hops[0].compute_us, trace.return_us) == (5.0, 2.0, 1.5)
    for broken in ["", "[]", "{}", text.replace('"worker"', '"other"'), "null"]:
        with pytest.raises(CorruptData):
            RouteTrace.from_json(broken)
