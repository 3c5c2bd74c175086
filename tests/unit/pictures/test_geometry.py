"""Division of widths."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.pictures.geometry import shared_widths


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=16), st.floats(0, 1000))
def test_shared_widths_add_up_and_respect_the_minimum(shares, spare):
    """Parts fill the whole, each has its least, and a larger share never has the narrower part."""
    total = 50.0 * len(shares) + spare
    widths = shared_widths(shares, total, 50.0)
    assert sum(widths) == pytest.approx(total)
    assert min(widths) >= 50 - 1e-6
    for share, width in zip(shares, widths, strict=True):
        assert all(width >= other - 1e-6 for less, other in zip(shares, widths, strict=True) if share > less)
