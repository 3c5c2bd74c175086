"""The source model without optimisation, normalised so that it can be cut: for portable partitions."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx_ir as ir
from onnx_ir.passes import common as passes

from onnxmesh.errors import InvalidModel
from onnxmesh.graph.costs.node_cost import weight_bytes
from onnxmesh.graph.cutting.weights_file import externalise_weights, write_weights
from onnxmesh.graph.reading.external_data import link_external_files, shareable_locations
from onnxmesh.graph.reading.loaded_tensor import load_tensor
from onnxmesh.graph.reading.node_order import topological_order
from onnxmesh.graph.reading.optimise import MAX_INLINE_MODEL_BYTES, OPTIMISED
from onnxmesh.graph.reading.source import load_structure
from onnxmesh.graph.reading.sparse import make_constants_dense, make_dense

_WEIGHTS = "optimised.weights"
_FIRST_IR_WITHOUT_WEIGHT_INPUTS = 4


def save_original_model(source: Path, out_folder: Path) -> Path:
    """Saves a model without optimisation: operators, casts and names stay those of the source.

    Only obstacles to a cut are removed: functions are inlined, sparse tensors are made dense, constants and the
    initialisers of subgraphs become initialisers of the graph, and nodes are sorted topologically. ONNX Runtime is not
    involved: it would adapt the graph to the kernels of this machine.

    Args:
        source: The model.
        out_folder: Folder for the model and its weights, as of `optimise`.

    Returns:
        Path of the model to cut.

    Raises:
        InvalidModel: The model cannot be read, a function cannot be inlined, or the graph has a cycle
            (INVALID_ARGUMENT).
    """
    out_folder.mkdir(parents=True, exist_ok=True)
    proto = load_structure(source)
    model = _inlined(proto, source)
    passes.LiftConstantsToInitializersPass(size_limit=0)(model)
    passes.LiftSubgraphInitializersToMainGraphPass()(model)
    if model.ir_version < _FIRST_IR_WITHOUT_WEIGHT_INPUTS:
        # That version requires every weight to be an input too; the weights are constants nevertheless.
        passes.RemoveInitializersFromInputsPass()(model)
        model.ir_version = _FIRST_IR_WITHOUT_WEIGHT_INPUTS
    topological_order(model)
    _load_constants(model)
    values = [value for graph in model.graphs() for value in graph.initializers.values()]
    shared = shareable_locations(proto)
    link_external_files({name: source.parent / name for name in shared}, out_folder)
    own = [v for v in values if not (shared and isinstance(v.const_value, ir.ExternalTensor))]
    (out_folder / _WEIGHTS).unlink(missing_ok=True)
    if sum(map(weight_bytes, own)) > MAX_INLINE_MODEL_BYTES:
        write_weights(out_folder / _WEIGHTS, externalise_weights(own, out_folder, _WEIGHTS))
    else:
        for value in own:
            if value.const_value is not None:
                value.const_value = load_tensor(value.const_value)
    target = out_folder / OPTIMISED
    ir.save(model, target, format="protobuf")
    return target


def _inlined(proto: onnx.ModelProto, source: Path) -> ir.Model:
    """Returns the model with dense tensors and inlined functions; external weights stay external."""
    make_dense(proto.graph, source.parent)
    versions = {opset.domain: opset.version for opset in proto.opset_import}
    for function in proto.functions:
        make_constants_dense(function.node, source.parent)
        for opset in function.opset_import:
            # Valid models import another version here only if the operators in use are the same in both.
            opset.version = versions.get(opset.domain, opset.version)
    try:
        model = ir.from_proto(proto)
        passes.InlinePass()(model)
    except Exception as error:  # onnx-ir raises exceptions of many types
        reason = f"{type(error).__name__}: {error}"
        raise InvalidModel(f"'{source.name}' cannot be normalised for cutting: {reason}") from error
    ir.external_data.set_base_dir(model.graph, source.parent)
    return model


def _load_constants(model: ir.Model) -> None:
    """Loads external tensors in attributes into the model: only initialisers may stay external."""
    for node in model.graph.all_nodes():
        for name, attribute in list(node.attributes.items()):
            if attribute.type == ir.AttributeType.TENSOR:
                node.attributes[name] = ir.AttrTensor(name, load_tensor(attribute.as_tensor()))
