"""Deployments are converted to records and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.errors import CorruptData
from onnxmesh.state.record import from_record, to_record
from tests.fakes.stored_deployment import deployment


@given(st.builds(deployment, st.text("abc", min_size=1), st.integers(1, 9), cpu_class=st.text(max_size=9)))
def test_from_record_reads_what_to_record_wrote(each):
    """Equal deployments have equal records, and a record is read as what was written."""
    assert from_record(to_record(each)) == each
    again = from_record(to_record(each))
    assert to_record(again) == to_record(each)


@pytest.mark.parametrize("record", [b"", b"noise", to_record(deployment())[:-3]])
def test_from_record_refuses_a_damaged_record(record):
    with pytest.raises(CorruptData):
        from_record(record)
