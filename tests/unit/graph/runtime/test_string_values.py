"""String tensors to and from ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxmesh.errors import InvalidRequest
from onnxmesh.graph.runtime import string_values
from onnxmesh.graph.runtime.string_values import from_string_value, from_text, string_value, to_text
from onnxmesh.tensors.arrays import from_array
from onnxmesh.tensors.datatype import Datatype
from onnxmesh.tensors.tensor import Tensor


@given(elements=st.lists(st.binary(max_size=40), max_size=6))
@settings(max_examples=40, deadline=None)
def test_string_values_keep_any_bytes(elements):
    """Empty, short and long strings, with zeros and with what is no UTF-8."""
    tensor = from_array("t", np.array(elements, dtype=np.object_).reshape(len(elements), 1))
    assert from_string_value("t", string_value(tensor)) == tensor


@given(words=st.lists(st.text(max_size=10), max_size=6))
def test_text_is_the_same_both_ways(words):
    """Text of any script."""
    tensor = from_array("t", np.array(words, dtype=np.object_))
    array = to_text(tensor)
    assert array is not None
    assert array.tolist() == words
    assert from_text("t", array) == tensor


def test_to_text_is_none_for_other_bytes():
    """They are bound as a value instead."""
    assert to_text(from_array("t", np.array([b"ok", b"\xff\xd8"], dtype=np.object_))) is None


def test_malformed_bytes_are_refused():
    """By both forms."""
    tensor = Tensor("t", Datatype.BYTES, (2,), b"\x01\x00\x00\x00a")
    for convert in (to_text, string_value):
        with pytest.raises(InvalidRequest, match="expected 2 BYTES elements"):
            convert(tensor)


def test_other_bytes_are_refused_by_name_where_memory_cannot_be_read(monkeypatch):
    """As on systems whose C++ library lays strings out otherwise."""
    monkeypatch.setattr(string_values, "_layout_is_known", lambda: False)
    value = string_value(from_array("t", np.array([b"\xff\xd8"], dtype=np.object_)))
    with pytest.raises(InvalidRequest, match="output 'y' has a string that is not UTF-8"):
        from_string_value("y", value)
