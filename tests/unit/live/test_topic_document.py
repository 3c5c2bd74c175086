"""Documents of live state: encoded by one process, decoded by another."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.live.expiring_dict import ExpiringValue
from onnxmesh.live.topic_document import decode_document, encode_document

times = st.floats(0.0, 1000.0)
values = st.dictionaries(st.text(max_size=5), st.floats(allow_nan=False), max_size=3)
entries = st.dictionaries(
    st.text(max_size=9), st.tuples(values, times, st.floats(0.1, 1000.0)), min_size=1, max_size=5
)


@given(entries, times, times, st.floats(0.0, 0.1))
def test_decode_document_restores_ages_without_a_common_clock(published, written_s, read_s, elapsed_s):
    """Whatever the clocks of both processes show: age and time to live are those of the writer, plus the time elapsed."""
    held = [
        (key, ExpiringValue(value, written_s - age_s, written_s + ttl_s))
        for key, (value, age_s, ttl_s) in published.items()
    ]
    document, left_ms = encode_document(held, written_s)
    assert left_ms == round(1000 * max(entry.expires_s - written_s for _, entry in held))
    decoded = decode_document("w", document.encode(), left_ms - round(1000 * elapsed_s), read_s)
    assert [(each.writer, each.key, each.values) for each in decoded] == [
        ("w", key, value) for key, (value, _, _) in published.items()
    ]
    for each, (_, age_s, ttl_s) in zip(decoded, published.values(), strict=True):
        assert read_s - each.published_s == pytest.approx(age_s + elapsed_s, abs=0.002)
        assert each.expires_s - read_s == pytest.approx(ttl_s - elapsed_s, abs=0.002)


def test_encode_document_without_entries_has_no_time_to_live():
    """Such a document is not written."""
    assert encode_document([], 5.0)[1] == 0


@pytest.mark.parametrize("document", [b"", b"[]", b"{}", b'{"left_ms": 1, "said": [1]}', b"\xff"])
def test_decode_document_ignores_a_malformed_document(document):
    """Another program that writes to this Redis cannot end the exchange."""
    assert decode_document("w", document, 1, 0.0) == []
