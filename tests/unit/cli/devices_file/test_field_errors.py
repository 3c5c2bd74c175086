"""Errors in a devices file as text."""

from __future__ import annotations

import pytest

from onnxmesh.cli.devices_file.field_errors import name_errors, path_text
from onnxmesh.cli.devices_file.schema import DevicesFields


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ((), ""),
        (("kinds", 0, "count"), "kinds[0].count"),
        (("links", 2, "between", 1), "links[2].between[1]"),
    ],
)
def test_path_text_has_dots_and_indices(path, text):
    """As people write a path."""
    assert path_text(path) == text


def test_name_errors_find_duplicates_and_unknown_kinds():
    """In the order of kinds and links; a link is the same in both directions."""
    link = {"bandwidth_gbit_per_s": 1.0}
    devices = DevicesFields.model_validate(
        {
            "kinds": [{"name": "a"}, {"name": "a"}, {"name": "b"}],
            "links": [
                link | {"between": ["a", "b"]},
                link | {"between": ["b", "a"]},
                link | {"between": ["a", "x"]},
            ],
        }
    )
    assert [path_text(error.path) for error in name_errors(devices)] == [
        "kinds[1].name",
        "links[1].between",
        "links[2].between[1]",
    ]
