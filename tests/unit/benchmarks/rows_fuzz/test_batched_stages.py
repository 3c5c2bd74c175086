"""Random graphs through the steps of a deployment, in this process."""

from __future__ import annotations

import pytest

from benchmarks.rows_fuzz.batched_stages import examine_stages
from benchmarks.rows_fuzz.random_graph import random_graph


@pytest.mark.parametrize("seed", range(12))
def test_batches_of_a_random_graph_have_the_bits_of_single_runs(seed, tmp_path):
    """In one to three stages; a graph without mixing is batched in all of them."""
    verdict = examine_stages(seed, tmp_path, 1 + seed % 3)
    assert verdict.wrong == 0
    assert verdict.proven == (not verdict.mixed) == (not random_graph(seed).mixed)
    assert verdict.batched == (not verdict.mixed), verdict.reason
