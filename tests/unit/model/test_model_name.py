"""Names of models."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.model.model_name import is_model_name, nearest_model_name


@pytest.mark.parametrize("name", ["resnet50", "a", "Bert_base.v2-int8", "7", "x" * 128])
def test_usable_names(name):
    """They are their own nearest name."""
    assert is_model_name(name)
    assert nearest_model_name(name) == name


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        ("my model (1)", "my-model-1"),
        ("café au lait", "cafe-au-lait"),
        ("-v2", "v2"),
        (".hidden", "hidden"),
        ("", "model"),
        ("模型", "model"),
        ("a/b:c", "a-b-c"),
        ("x" * 200, "x" * 128),
    ],
)
def test_suggestion_is_a_usable_name_near_the_text(text, nearest):
    """It is what the error suggests."""
    assert not is_model_name(text)
    assert nearest_model_name(text) == nearest


@given(st.text())
def test_suggested_names_are_usable(text):
    """Whatever the file is called."""
    assert is_model_name(nearest_model_name(text))
