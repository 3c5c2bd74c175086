"""Pydantic's errors in words."""

from __future__ import annotations

from typing import Literal

import pytest
from pydantic import BaseModel, Field, ValidationError

from onnxmesh.expected_values import expected_value


class Fields(BaseModel):
    number: int = Field(1, ge=1, le=2**31 - 1)
    share: float = Field(0.5, gt=0, lt=1)
    word: Literal["auto", "off"] = "auto"
    switch: bool = True
    name: str = Field("x", min_length=1, max_length=3)
    other: bytes = b""


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("number", "x", "a whole number"),
        ("number", 1.5, "a whole number"),
        ("number", 0, "a number of at least 1"),
        ("number", 2**40, "a number of at most 2,147,483,647"),
        ("share", "x", "a number"),
        ("share", 0, "a number above 0"),
        ("share", 1, "a number below 1"),
        ("word", "on", "'auto' or 'off'"),
        ("switch", "maybe", "yes or no"),
        ("name", "", "text of at least 1 character"),
        ("name", "long", "text of at most 3 characters"),
        ("other", [], ""),
    ],
)
def test_expected_value_is_in_words(field, value, expected):
    """An error of another type has none."""
    with pytest.raises(ValidationError) as caught:
        Fields(**{field: value})
    (problem,) = caught.value.errors()
    assert expected_value(problem["type"], problem.get("ctx", {})) == expected
