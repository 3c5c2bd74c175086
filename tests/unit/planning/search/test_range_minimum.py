"""Range minima of arrays."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.planning.search.int_array import INFEASIBLE
from onnxmesh.planning.search.range_minimum import RangeMinimum


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=40), st.data())
def test_range_minimum_equals_the_minimum_of_the_slice(values, data):
    """Of every interval, empty ones too."""
    position = st.integers(0, len(values))
    pairs = data.draw(st.lists(st.tuples(position, position), min_size=1, max_size=9))
    starts, ends = np.array(pairs, np.int64).T
    expected = [min(values[start:end], default=INFEASIBLE) for start, end in pairs]
    assert RangeMinimum(np.array(values, np.int64)).of(starts, ends).tolist() == expected
