"""Quantities are parsed."""

from __future__ import annotations

import pytest

from onnxmesh.routing.selectors.quantity import read_quantity


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("24", 24),
        ("7.5", 7.5),
        ("-1", -1),
        ("2e3", 2000),
        ("80Gi", 80 * 2**30),
        ("3k", 3000),
        ("1.5M", 1.5e6),
        (".5", 0.5),
        ("", None),
        ("Gi", None),
        ("1 Gi", None),
        ("nan", None),
        ("inf", None),
        ("0x10", None),
        ("1e999", None),
        ("٣", None),
    ],
)
def test_read_quantity(text, number):
    """Kubernetes' suffixes; what is no finite number is none."""
    assert read_quantity(text) == number
