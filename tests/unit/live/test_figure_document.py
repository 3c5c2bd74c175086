"""What processes say to each other by way of Redis."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.live.ageing import Aged
from onnxmesh.live.figure_document import document_of, received_figures

times = st.floats(0.0, 1000.0)
values = st.dictionaries(st.text(max_size=5), st.floats(allow_nan=False), max_size=3)
entries = st.dictionaries(
    st.text(max_size=9), st.tuples(values, times, st.floats(0.1, 1000.0)), min_size=1, max_size=5
)


@given(entries, times, times, st.floats(0.0, 0.1))
def test_ages_are_told_without_a_common_clock(said, written_s, read_s, elapsed_s):
    """Whatever the clocks of both processes show: age and time to live are those of the writer, plus what has passed."""
    held = [
        (key, Aged(value, written_s - age_s, written_s + ttl_s))
        for key, (value, age_s, ttl_s) in said.items()
    ]
    document, left_ms = document_of(held, written_s)
    assert left_ms == round(1000 * max(entry.expires_s - written_s for _, entry in held))
    heard = received_figures("w", document.encode(), left_ms - round(1000 * elapsed_s), read_s)
    assert [(each.writer, each.key, each.values) for each in heard] == [
        ("w", key, value) for key, (value, _, _) in said.items()
    ]
    for each, (_, age_s, ttl_s) in zip(heard, said.values(), strict=True):
        assert read_s - each.said_s == pytest.approx(age_s + elapsed_s, abs=0.002)
        assert each.expires_s - read_s == pytest.approx(ttl_s - elapsed_s, abs=0.002)


def test_nothing_said_has_no_time_to_live():
    """There is no document to write then."""
    assert document_of([], 5.0)[1] == 0


@pytest.mark.parametrize("document", [b"", b"[]", b"{}", b'{"left_ms": 1, "said": [1]}', b"\xff"])
def test_what_is_no_document_tells_nothing(document):
    """Whoever else writes to this Redis cannot end the exchange."""
    assert received_figures("w", document, 1, 0.0) == []
