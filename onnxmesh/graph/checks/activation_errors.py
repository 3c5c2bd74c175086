"""Output errors of a chain with lossy activations, relative to the same chain with exact ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from onnxmesh.errors import ModelRunFailed
from onnxmesh.graph.checks.chain_comparison import copy_tensors, may_prepack
from onnxmesh.graph.checks.difference import compare_tensors
from onnxmesh.graph.costs.graph_analysis import resolve_input_shapes
from onnxmesh.graph.measuring.random_inputs import random_inputs
from onnxmesh.graph.reading.index_bounds import index_bounds
from onnxmesh.graph.reading.node_order import load_graph, topological_order
from onnxmesh.graph.reading.value_types import ValueType
from onnxmesh.graph.runtime.partition_chain import direct_feeds, live_tensors
from onnxmesh.graph.runtime.session import StageSession
from onnxmesh.model.activation_errors import ActivationErrors, compressible_tensors
from onnxmesh.model.cut_mode import CutMode
from onnxmesh.model.graph_costs import GraphCosts
from onnxmesh.model.input_shapes import InputShapes
from onnxmesh.model.partition import Partition
from onnxmesh.tensors.compression.codec import decode_elements, encode_elements
from onnxmesh.tensors.compression.encoding import ROUNDINGS, Encoding
from onnxmesh.tensors.tensor import Tensor

NUM_RANDOM_INPUTS = 4
"""Number of random inputs, at the shapes of the plan."""

Tensors = Mapping[str, Tensor]


def measure_activation_errors(
    graph: Path,
    folder: Path,
    partitions: Sequence[Partition],
    mode: CutMode,
    *,
    costs: GraphCosts,
    types: Mapping[str, ValueType],
    shapes: InputShapes,
) -> ActivationErrors:
    """Measures the output error of each lossy encoding, applied at all boundaries. One stage is loaded at a time.

    Args:
        graph: The model that was cut.
        folder: Folder of the partitions.
        partitions: The chain, in order.
        mode: The mode of the cut.
        costs: Costs of the graph at `shapes`.
        types: Types of its values, by name.
        shapes: The shapes of the plan.
    """
    if len(partitions) == 1:
        return ActivationErrors(why_not="the model is one stage")
    planned, _ = resolve_input_shapes(costs.signature, types, shapes)
    bounds = index_bounds(topological_order(load_graph(graph)))
    given = [
        random_inputs(costs.signature.inputs, seed, shapes=planned, bounds=bounds)
        for seed in range(NUM_RANDOM_INPUTS)
    ]
    edge = {spec.name for spec in (*costs.signature.inputs, *costs.signature.outputs)}
    try:
        exact, *rounded = _run(folder, partitions, mode, given, edge, (Encoding.NONE, *ROUNDINGS))
    except ModelRunFailed as error:
        return ActivationErrors(why_not=f"the model refuses random inputs: {error.message}")
    return ActivationErrors(
        tuple((each.label, _largest(exact, found)) for each, found in zip(ROUNDINGS, rounded, strict=True))
    )


def _run(
    folder: Path,
    partitions: Sequence[Partition],
    mode: CutMode,
    given: Sequence[Tensors],
    edge: set[str],
    encodings: Sequence[Encoding],
) -> list[list[dict[str, Tensor]]]:
    """Returns the model's outputs for each encoding of its boundaries and each of the inputs."""
    prepack = may_prepack(partitions)
    live = [[dict(feeds) for feeds in given] for _ in encodings]
    for partition in partitions:
        session = StageSession(folder / f"stage-{partition.index}", level=mode.load_level, prepack=prepack)
        lossy = compressible_tensors(partition.live_out, edge)
        for encoding, requests in zip(encodings, live, strict=True):
            for number, feeds in enumerate(given):
                before = requests[number] | direct_feeds(partition, feeds)
                after = copy_tensors(live_tensors(partition, before, session.run(before)))
                requests[number] = after | {name: _round_trip(after[name], encoding) for name in lossy}
    return live


def _round_trip(tensor: Tensor, encoding: Encoding) -> Tensor:
    """Returns a tensor encoded and decoded again; unchanged where the encoding does not apply to it."""
    if encoding is Encoding.NONE or not encoding.accepts(tensor.datatype):
        return tensor
    encoded = encode_elements(tensor, encoding)
    if encoded is None:
        return tensor
    return decode_elements(
        tensor.name, tensor.datatype, tensor.shape, encoded=encoded, num_bytes=tensor.byte_size
    )


def _largest(exact: Sequence[Tensors], found: Sequence[Tensors]) -> float:
    return max(
        (
            compare_tensors(one[name], other[name]).largest_relative
            for one, other in zip(exact, found, strict=True)
            for name in one
        ),
        default=0.0,
    )
