"""What ONNX's checker is given: a model without the forms that ONNX and ONNX Runtime allow and the checker refuses."""

from __future__ import annotations

from collections.abc import Iterable, MutableSequence
from functools import cache, lru_cache
from pathlib import Path

import onnx
from onnxruntime.capi import onnxruntime_pybind11_state as runtime_bindings

from onnxmesh.graph.reading.external_data import external_tensors, tensors_of
from onnxmesh.graph.runtime.node_name import nodes_of

_RUNTIME_DOMAIN = "com.microsoft"
"""A domain whose operators the checker does not know and accepts."""

_FIRST_IR_WITHOUT_WEIGHT_INPUTS = 4

_NEWEST = {"": onnx.defs.onnx_opset_version(), "ai.onnx.ml": onnx.helper.VERSION_TABLE[-1][3]}
"""The newest version of each domain whose operators the checker knows."""


def check_structure(model: onnx.ModelProto, path: Path, *, changed: bool) -> None:
    """Checks a model with ONNX's checker.

    Args:
        model: A normalised model, without its external data.
        path: Its file.
        changed: Whether the file is not in normal form.

    Raises:
        ValidationError: It is not valid, in the form of `checker_input` either.
        ValueError, RuntimeError, DecodeError: It cannot be checked.
    """
    if not changed and not external_tensors(model):
        try:
            onnx.checker.check_model(str(path))
        except onnx.checker.ValidationError:
            pass
        else:
            return
    onnx.checker.check_model(checker_input(model))


def checker_input(model: onnx.ModelProto) -> bytes:
    """Returns the serialised structure of a model, changed where the checker is stricter than ONNX Runtime.

    - External data is left out: `check_external` validated it, and the checker refuses files with several hard links.
    - An output may lack its type or shape, and an input with a default its shape: ONNX Runtime infers them.
    - An operator that ONNX does not define in the imported version of the default domain may be one that ONNX Runtime
      added and writes into optimised models, such as LayerNormalization before opset 17.
    - A domain may be used without an import, which then stands for its newest version.
    - Before IR version 4 every initialiser has to be an input. ONNX Runtime demands that of no version.
    - Keys of the metadata may be repeated.
    """
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    bare.ir_version = max(model.ir_version, _FIRST_IR_WITHOUT_WEIGHT_INPUTS)
    del bare.metadata_props[:]
    _leave_out_external_data(bare)
    _declare_types(bare.graph)
    _import_domains(bare.opset_import, nodes_of(bare.graph))
    for function in bare.functions:
        _import_domains(function.opset_import, nodes_of(function))
    return bare.SerializeToString()


def _leave_out_external_data(model: onnx.ModelProto) -> None:
    for sparse in list(model.graph.sparse_initializer):
        if _is_external(sparse.values) or _is_external(sparse.indices):
            model.graph.sparse_initializer.remove(sparse)
            model.graph.initializer.add(name=sparse.values.name, data_type=sparse.values.data_type, dims=[0])
    for tensor in tensors_of(model):
        if _is_external(tensor):
            tensor.data_location = onnx.TensorProto.DEFAULT
            del tensor.external_data[:]
            # A tensor without elements has no data that the checker could miss.
            tensor.dims[:] = [0]


def _is_external(tensor: onnx.TensorProto) -> bool:
    return bool(tensor.data_location == onnx.TensorProto.EXTERNAL)


def _declare_types(graph: onnx.GraphProto) -> None:
    defaults = {tensor.name for tensor in graph.initializer}
    for value in [*graph.output, *(each for each in graph.input if each.name in defaults)]:
        kind = value.type.WhichOneof("value")
        if kind is None:
            value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
        if kind in {None, "tensor_type"} and not value.type.tensor_type.HasField("shape"):
            value.type.tensor_type.shape.SetInParent()


def _import_domains(
    imports: MutableSequence[onnx.OperatorSetIdProto], nodes: Iterable[onnx.NodeProto]
) -> None:
    """Imports every domain that the nodes use; operators that ONNX does not define get a domain of ONNX Runtime."""
    versions = {opset.domain: opset.version for opset in imports}
    standard = versions.get("", _NEWEST[""])
    for node in nodes:
        if not node.domain and _is_added_by_runtime(node.op_type, standard):
            node.domain = _RUNTIME_DOMAIN
        if node.domain not in versions:
            versions[node.domain] = _NEWEST.get(node.domain, 1)
            imports.append(onnx.helper.make_opsetid(node.domain, versions[node.domain]))


@lru_cache(4096)
def _is_added_by_runtime(operator: str, version: int) -> bool:
    """Whether ONNX Runtime has an operator in a version of the default domain, and ONNX has not."""
    try:
        onnx.defs.get_schema(operator, version, "")
    except onnx.defs.SchemaError:
        return _runtime_operators().get(operator, version + 1) <= version
    return False


@cache
def _runtime_operators() -> dict[str, int]:
    """Returns ONNX Runtime's operators of the default domain, each with the first version that has it."""
    found: dict[str, int] = {}
    for schema in runtime_bindings.get_all_operator_schema():
        if not schema.domain:
            found[schema.name] = min(schema.since_version, found.get(schema.name, schema.since_version))
    return found
