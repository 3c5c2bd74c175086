"""Documents of `--json`."""

from __future__ import annotations

import json
import math

from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.cli.terminal.json_output import json_text


def refuse(constant):
    raise ValueError(constant)


def parsed(document):
    """As a strict parser reads it: Python's own would accept NaN."""
    return json.loads(json_text(document), parse_constant=refuse)


def test_numbers_that_json_lacks_are_strings():
    """As in the JSON mapping of protobuf, at any depth; other values are as json.dumps writes them."""
    document = {"a": [math.nan, (math.inf, 1.5)], "b": {"c": -math.inf}, "d": None, "e": True, "f": 2**70}
    assert parsed(document) == {
        "a": ["NaN", ["Infinity", 1.5]],
        "b": {"c": "-Infinity"},
        "d": None,
        "e": True,
        "f": 2**70,
    }


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_json_output_is_valid_json_on_one_line(document):
    """Whatever its numbers and strings."""
    parsed(document)
    assert "\n" not in json_text(document)
