"""Cutting a model into a chain of partitions."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import onnx_ir as ir

from onnxmesh.errors import InvalidModel, InvalidPlan
from onnxmesh.files.digests import describe_file, listing_digest
from onnxmesh.files.staging import staged_folder
from onnxmesh.graph.costs.boundary_values import BoundaryValues
from onnxmesh.graph.costs.graph_analysis import boundary_types, spec_of
from onnxmesh.graph.costs.node_cost import weight_bytes
from onnxmesh.graph.cutting.direct_inputs import direct_inputs
from onnxmesh.graph.cutting.weights_file import externalise_weights, write_weights
from onnxmesh.graph.reading.loaded_tensor import load_tensor
from onnxmesh.graph.reading.node_order import NodeOrder, load_graph, topological_order, value_name
from onnxmesh.graph.reading.value_types import ValueType
from onnxmesh.graph.runtime.element_types import ELEMENT_TYPE_OF
from onnxmesh.ids import Digest
from onnxmesh.model.cut_mode import CutMode
from onnxmesh.model.partition import Partition
from onnxmesh.model.tensor_spec import TensorSpec
from onnxmesh.tensors.datatype import Datatype

_NEWEST_IR = 13
"""The newest IR version that every ONNX Runtime in use reads (`onnxruntime-gpu` lags behind)."""
_WEIGHTS = "model.weights"
_OLDEST_IR = 4
"""Before it, every initialiser had to be an input too."""
_MAX_INLINE_PARTITION_BYTES = 1 << 20
"""Weights of a partition beyond this total go to a file of their own. ONNX Runtime maps that file and releases weights
that a kernel has prepacked; weights within the model take up to half as much again (measured: 75 MB for a stage of
56 MB of weights, 48 MB with a file)."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """Origin of a partition, stored in its metadata. Without time and host, since digests depend on it.

    Attributes:
        source_digest: Digest of the model that was cut.
        level: Optimisation level before the cut.
        tool: Name and version of the tool that cut it.
        mode: Whether partitions run as they are or are optimised at load.
    """

    source_digest: Digest
    level: str
    tool: str = "onnxmesh"
    mode: CutMode = CutMode.EXACT


@dataclass(frozen=True, slots=True)
class _UnwrittenPartition:
    """A partition before it is written."""

    stage: ir.Model
    nodes: tuple[int, int]
    live_out: tuple[str, ...]
    direct_inputs: tuple[str, ...]


def cut_model(
    optimised: Path,
    cuts: Sequence[int],
    out: Path,
    provenance: Provenance,
    types: Mapping[str, ValueType] | None = None,
    direct: Sequence[Sequence[str]] = (),
) -> list[Partition]:
    """Cuts a model and writes a folder `stage-<i>` for each partition.

    A partition is a valid model: it computes `outputs` from `inputs`, contains every constant that it needs, and
    declares types and shapes of its inputs and outputs. Large weights are in `model.weights` beside `model.onnx`.

    Args:
        optimised: A model that `optimise` or `save_original_model` saved.
        cuts: Positions in its topological order, ascending; none for a single stage.
        out: Folder to write, atomically; replaces an existing one.
        provenance: Metadata of the partitions.
        types: Result of `boundary_types` for the same file; None: inferred here.
        direct: For each stage the inputs of the model that the gateway sends to it; empty: all are carried.

    Returns:
        The partitions in the order of the chain.

    Raises:
        InvalidPlan: A position is out of range or out of order, a value that crosses it cannot be sent, or the
            direct inputs are inconsistent (INVALID_ARGUMENT).
        InvalidModel: The model cannot be read (INVALID_ARGUMENT).
    """
    model = load_graph(optimised)
    order = topological_order(model)
    _check_cuts(cuts, len(order.nodes))
    bounds = [0, *cuts, len(order.nodes)]
    routes = direct_inputs(order, bounds, direct)
    types = boundary_types(optimised) if types is None else types
    crossings = _crossings(order, cuts, types, frozenset(name for names in routes for name in names))
    # Weights that a caller may override are no constants for ONNX Runtime, which runs other kernels with them, whose
    # last bits differ: they stay inputs with a default. Before IR 4 all weights were listed so.
    defaults = [v for v in order.graph.inputs if v.is_initializer()] if model.ir_version >= _OLDEST_IR else []
    unwritten: list[_UnwrittenPartition] = []
    for index, (start, end) in enumerate(pairwise(bounds)):
        given = [value for value in order.inputs if value_name(value) in routes[index]]
        before = list(dict.fromkeys([*crossings[index], *given]))
        stage = _stage_model(model, _extract(order, before, crossings[index + 1], defaults), types)
        stage.metadata_props.update(
            {
                "onnxmesh.source": provenance.source_digest,
                "onnxmesh.mode": provenance.mode.value,
                "onnxmesh.optimisation": provenance.level,
                "onnxmesh.nodes": f"[{start}, {end})",
                "onnxmesh.stage": f"{index} of {len(bounds) - 1}",
                "onnxmesh.tool": provenance.tool,
            }
        )
        live_out = tuple(value_name(value) for value in crossings[index + 1])
        unwritten.append(_UnwrittenPartition(stage, (start, end), live_out, routes[index]))
    with staged_folder(out) as fresh, ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        written = [
            pool.submit(_write, partition, fresh, index, types) for index, partition in enumerate(unwritten)
        ]
        return [future.result() for future in written]


def _check_cuts(cuts: Sequence[int], num_nodes: int) -> None:
    for before, after in pairwise([0, *cuts]):
        if after <= before:
            raise InvalidPlan(f"cuts must ascend from 1: {list(cuts)}")
    if cuts and cuts[-1] >= num_nodes:
        raise InvalidPlan(f"cut at {cuts[-1]} is beyond the last of {num_nodes} nodes")


def _crossings(
    order: NodeOrder, cuts: Sequence[int], types: Mapping[str, ValueType], direct: Set[str]
) -> list[list[ir.Value]]:
    """Returns the values before the first stage, across each cut, and after the last stage."""
    values_at = BoundaryValues(order, types)
    over_cuts = []
    for start, position in pairwise([0, *cuts]):
        live = [
            value for value in order.live_at(position) if value.name not in direct or order.defined_at[value]
        ]
        over_cuts.append(values_at.at_cut(position, start, live))
    for position, values in zip(cuts, over_cuts, strict=True):
        for value in values:
            try:
                spec_of(value, types)
            except InvalidModel as error:
                raise InvalidPlan(f"cannot be cut at {position}: {error}") from error
    return [list(order.inputs), *over_cuts, list(dict.fromkeys(order.outputs))]


def _extract(
    order: NodeOrder, before: Sequence[ir.Value], after: Sequence[ir.Value], defaults: Sequence[ir.Value]
) -> ir.Graph:
    """Returns a copy of the subgraph that computes the values in `after` that are not in `before`."""
    given = set(before)
    outputs = [value for value in after if value not in given]
    # A model that computes nothing still needs an output to be valid.
    outputs = outputs or list(after[:1])
    graph = ir.convenience.extract(order.graph, [*before, *defaults], outputs)
    used = {value_name(value) for value in graph.outputs}
    for node in graph.all_nodes():
        used.update(value_name(value) for value in node.inputs if value is not None)
    for value in [value for value in graph.inputs if value.name not in used]:
        graph.inputs.remove(value)
    # In the order of the source: `extract` collects them in a set, and digests must not depend on its order.
    found = dict(graph.initializers)
    graph.initializers.clear()
    for name in order.graph.initializers:
        if name in used and name in found:
            graph.initializers[name] = found[name]
    return graph


def _stage_model(model: ir.Model, graph: ir.Graph, types: Mapping[str, ValueType]) -> ir.Model:
    known_inputs = (
        types[value_name(value)].dims or () for value in model.graph.inputs if value_name(value) in types
    )
    symbols = {dim for dims in known_inputs for dim in dims if isinstance(dim, str)}
    for value in [*_required_inputs(graph), *graph.outputs]:
        spec = spec_of(value, types)
        value.type = ir.TensorType(ir.DataType(ELEMENT_TYPE_OF[Datatype(spec.datatype)]))
        value.shape = _declared_shape(types[value_name(value)], symbols)
    graph.name = model.graph.name or "graph"
    graph.doc_string = None
    functions = [function.clone() for function in model.functions.values()]
    return ir.Model(
        graph,
        ir_version=max(_OLDEST_IR, min(model.ir_version, _NEWEST_IR)),
        producer_name="onnxmesh",
        functions=functions,
    )


def _required_inputs(graph: ir.Graph) -> list[ir.Value]:
    """Returns the inputs without a default."""
    return [value for value in graph.inputs if not value.is_initializer()]


def _declared_shape(known: ValueType, symbols: Set[str]) -> ir.Shape | None:
    """Returns the shape that a partition declares: with the model's own symbols, without those of shape inference."""
    if known.dims is None:
        return None
    return ir.Shape([dim if isinstance(dim, int) or dim in symbols else None for dim in known.dims])


def _write(
    partition: _UnwrittenPartition, folder: Path, index: int, types: Mapping[str, ValueType]
) -> Partition:
    home = folder / f"stage-{index}"
    home.mkdir()
    stage = partition.stage
    initializers = [value for graph in stage.graphs() for value in graph.initializers.values()]
    weights = sum(weight_bytes(value) for value in initializers)
    files = []
    if weights > _MAX_INLINE_PARTITION_BYTES:
        segments = externalise_weights(initializers, home, _WEIGHTS)
        files.append(write_weights(home / _WEIGHTS, segments))
    else:
        for value in initializers:
            if value.const_value is not None:
                value.const_value = load_tensor(value.const_value)
    ir.save(stage, home / "model.onnx", format="protobuf")
    files.insert(0, describe_file(home, "model.onnx"))
    return Partition(
        index=index,
        start=partition.nodes[0],
        end=partition.nodes[1],
        files=tuple(files),
        digest=listing_digest(files),
        inputs=_specs(_required_inputs(stage.graph), types),
        outputs=_specs(stage.graph.outputs, types),
        live_out=partition.live_out,
        weight_bytes=weights,
        direct_inputs=partition.direct_inputs,
    )


def _specs(values: Sequence[ir.Value], types: Mapping[str, ValueType]) -> tuple[TensorSpec, ...]:
    return tuple(spec_of(value, types) for value in values)
