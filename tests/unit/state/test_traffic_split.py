"""Traffic splits as they are saved."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.errors import CorruptData
from onnxmesh.state.traffic_split import TrafficSplit

PERCENTS = st.integers(0, 100)


def split(percents, before=None):
    return TrafficSplit("m", percents, before)


@given(
    st.dictionaries(st.integers(1, 99), PERCENTS), st.none() | st.dictionaries(st.integers(1, 9), PERCENTS)
)
def test_traffic_split_is_read_as_it_was_written(percents, before):
    made = split(percents, before)
    assert TrafficSplit.from_json("m", made.to_json()) == made


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"percents": {"x": 1}, "before": null}', '{"percents": 3}']
)
def test_traffic_split_refuses_damaged_text(text):
    with pytest.raises(CorruptData, match="traffic split of model 'm'"):
        TrafficSplit.from_json("m", text)


def test_equal_traffic_splits_give_equal_text():
    assert split({10: 30, 2: 70}, {1: 100}).to_json() == split({2: 70, 10: 30}, {1: 100}).to_json()
