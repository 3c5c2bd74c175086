"""Traffic splits are stored as JSON."""

from __future__ import annotations

import pytest

from onnxmesh.errors import CorruptData
from onnxmesh.state.traffic_split import TrafficSplit


@pytest.mark.parametrize("before", [None, {}, {1: 100}])
def test_traffic_split_from_json_reads_what_to_json_wrote(before):
    split = TrafficSplit("m", {10: 30, 2: 70}, before)
    assert TrafficSplit.from_json("m", split.to_json()) == split
    assert split.to_json() == TrafficSplit("m", {2: 70, 10: 30}, before).to_json()


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"percents": {}}', '{"percents": {"a": 1}, "before": null}', b"\xff"]
)
def test_traffic_split_from_json_refuses_other_text(text):
    with pytest.raises(CorruptData, match="model 'm'"):
        TrafficSplit.from_json("m", text)
