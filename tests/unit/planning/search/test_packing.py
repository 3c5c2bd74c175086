"""Memory packing against every assignment."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from onnxmesh.planning.search.chain import Chain
from onnxmesh.planning.search.packing import pack_memory
from tests.unit.planning.every_assignment import (
    clusters,
    every_assignment,
    graphs,
)


@settings(max_examples=150)
@given(graphs(), clusters(), st.integers(1, 2))
def test_packing_fits_exactly_if_brute_force_does(costs, cluster, replicas):
    """Something is packed exactly if some assignment fits, and in the fewest stages."""
    chain = Chain.of(costs, cluster)
    numbers = range(1, min(costs.max_stages, cluster.num_devices // replicas) + 1)
    fitting = [k for k in numbers if any(True for _ in every_assignment(costs, cluster, k, replicas))]
    found = pack_memory(chain, None, replicas)
    assert (None if found is None else found.num_stages) == min(fitting, default=None)
    assert found is None or found.fits(chain)
