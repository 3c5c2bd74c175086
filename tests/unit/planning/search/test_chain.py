"""Chains of blocks, computed by hand."""

from __future__ import annotations

from onnxmesh.model.graph_costs import InputUse
from onnxmesh.planning.search.chain import Chain, blocks_memory, crossing_bytes, first_starts
from tests.fakes.planned_graphs import cluster, graph, kind

PS = 10**12


def test_chain_has_blocks_between_legal_cuts():
    """Position 2 is illegal: nodes 1 and 2 are one block of 50 s."""
    chain = Chain.of(graph([10, 20, 30, 40], [1, 1, 3], illegal={2}), cluster(kind(), bytes_per_s=1.0))
    assert chain.positions.tolist() == [0, 1, 3, 4]
    assert (chain.prefix[0] // PS).tolist() == [0, 10, 60, 100]
    assert (chain.transfer[0, 0] // PS).tolist() == [0, 1, 3, 0]
    assert chain.crossing.tolist() == [0, 1, 3, 0]


def test_first_starts_slide_a_window_over_shared_weights():
    """Limit 20: weights 10, 10 and a shared 10 that counts once; working memory of 15 leaves memory for no weight."""
    costs = graph([1] * 4, weights=[(0,), (1,), (0,), (2,)], weight_bytes=(10, 10, 10), working=[0, 0, 0, 15])
    positions = [0, 1, 2, 3, 4]
    assert first_starts(costs, positions, 20) == [0, 0, 0, 0, 4]
    assert first_starts(costs, positions, 25) == [0, 0, 0, 0, 3]
    assert first_starts(costs, positions, None) == [0] * 5
    assert blocks_memory(costs, [0, 2, 4]) == ([[0, 1], [0, 2]], [0, 15])


def test_chain_restricted_to_positions_keeps_times_and_memory():
    """Positions 0, 2 and 4 of four equal nodes; a stage of one new block fits, of two does not."""
    costs = graph([10] * 4, weights=[(0,), (1,), (2,), (3,)], weight_bytes=(10,) * 4)
    chain = Chain.of(costs, cluster(kind(count=2, memory=20))).restricted_to([0, 2, 4])
    assert (chain.prefix[0] // PS).tolist() == [0, 20, 40]
    assert chain.first_start[0].tolist() == [0, 0, 1]


def test_crossing_bytes_count_small_inputs_up_to_their_last_reader():
    """Below 50 bytes a transfer is shorter than the latency: the small input is carried, the large one direct."""
    inputs = (InputUse("small", 40, (0, 1)), InputUse("large", 60, (0, 2)))
    costs = graph([1, 1, 1], [5, 7], inputs=inputs)
    assert crossing_bytes(costs, cluster(kind(), bytes_per_s=1.0, latency_s=50.0)) == [45, 7]


def test_units_need_different_devices():
    """Three devices of two slots hold three stages of two replicas; no stage of four replicas."""
    chain = Chain.of(graph([1]), cluster(kind(count=3)), slots=2)
    assert (chain.units((0,), 1), chain.units((0,), 2), chain.units((0,), 4)) == (6, 3, 0)
