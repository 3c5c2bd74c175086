"""Costs of copies of shared weights, computed by hand."""

from __future__ import annotations

import numpy as np

from onnxmesh.planning.search.shared_weights import SharedWeights

# Weight 0 (cost 5) is read by blocks 0 and 2, weight 1 (cost 3) by blocks 1 and 3, weight 2 by block 0 alone.
SHARED = SharedWeights([[0, 2], [1], [0], [1]], [5, 3, 7])


def test_copies_are_charged_where_readers_are_on_both_sides_of_the_end():
    """End 2 separates both pairs of readers: a stage from 0 holds both, one from 1 the second only."""
    assert SHARED.copies(np.array([0, 1, 2]), 2).tolist() == [8, 3, 0]
    assert SHARED.copies(np.array([0]), 1).tolist() == [5]
    assert SHARED.copies(np.array([0]), 4).tolist() == [0]


def test_steps_agree_with_copies():
    """For each end, a start at or after a step's start has that step's charge."""
    for end in range(1, 5):
        charges = {}
        for start, charge in SHARED.steps():
            for at in range(int(start[end]), 5):
                charges.setdefault(at, int(charge[end]))
        assert [charges[at] for at in range(end)] == SHARED.copies(np.arange(end), end).tolist()
