"""Options whose value is one of a few words."""

from __future__ import annotations

import pytest

from onnxmesh.cli.terminal.choices import parse_choice
from onnxmesh.errors import InvalidRequest
from onnxmesh.model.cut_mode import CutMode


def test_choice_is_the_named_member():
    """Exactly as it is written."""
    assert parse_choice("--mode", "portable", CutMode) is CutMode.PORTABLE


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("portabel", "--mode: expected exact or portable, got 'portabel'; did you mean 'portable'?"),
        ("EXACT", "--mode: expected exact or portable, got 'EXACT'; did you mean 'exact'?"),
        ("x", "--mode: expected exact or portable, got 'x'"),
    ],
)
def test_choice_error_lists_the_members(text, message):
    """With the most similar one, if there is one."""
    with pytest.raises(InvalidRequest) as raised:
        parse_choice("--mode", text, CutMode)
    assert raised.value.message == message
