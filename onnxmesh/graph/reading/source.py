"""The source model: reading, validation and content digest."""

from __future__ import annotations

from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from onnxmesh.error_text import listed
from onnxmesh.errors import InvalidModel
from onnxmesh.files.digests import describe_file, describe_files, listing_digest
from onnxmesh.files.foreign_file import foreign_file
from onnxmesh.graph.reading.cycle import find_cycle
from onnxmesh.graph.reading.external_data import check_external, external_tensors, tensors_of
from onnxmesh.graph.runtime.element_types import DATATYPE_OF, element_type_name
from onnxmesh.graph.runtime.node_name import describe_node
from onnxmesh.ids import Digest

_MAX_MESSAGE_CHARS = 500
_RUNTIME_OPERATORS = frozenset({"SimplifiedLayerNormalization"})
"""Operators that ONNX Runtime accepts in the standard domain although ONNX does not define them."""
_RUNTIME_DOMAIN = "com.microsoft"
_ZIPMAP_CURE = ": ZipMap made it of the probabilities; convert the model with options={'zipmap': False} (in onnxmltools: zipmap=False)"


def load_structure(path: Path) -> onnx.ModelProto:
    """Reads a model without its external data.

    Raises:
        InvalidModel: The file is missing, empty, truncated or not ONNX (INVALID_ARGUMENT).
    """
    if not path.is_file():
        raise InvalidModel(f"no model file at '{path.name}'")
    if what := foreign_file(path):
        raise InvalidModel(f"'{path.name}' is not an ONNX model; it is {what}")
    try:
        model = onnx.load(path, format="protobuf", load_external_data=False)
    except DecodeError as error:
        raise InvalidModel(
            f"'{path.name}' is not an ONNX model, or is truncated: download or export it again"
        ) from error
    # Almost any bytes parse as a protobuf message: only required fields identify a model.
    if not model.ir_version or not model.HasField("graph") or not model.opset_import:
        raise InvalidModel(f"'{path.name}' is not an ONNX model: it has no IR version, graph or opset")
    return model


def check_source(path: Path) -> None:
    """Validates that a file is a model that a mesh can serve, without loading its weights.

    Raises:
        InvalidModel: Not ONNX, empty or truncated; external data missing, too short or outside the model's
            folder; refused by ONNX's checker; an input or output of a type that the Open Inference Protocol
            lacks. The message names the tensor or node (INVALID_ARGUMENT).
    """
    model = load_structure(path)
    for tensor in external_tensors(model):
        check_external(tensor, path.parent)
    try:
        onnx.checker.check_model(checker_input(model, path))
    except onnx.checker.ValidationError as error:
        if cycle := find_cycle(model.graph):
            nodes = listed(map(describe_node, cycle), quoted=False)
            raise InvalidModel(f"'{path.name}' has a cycle: {nodes}") from error
        raise InvalidModel(f"'{path.name}' is not valid ONNX: {_first_lines(str(error))}") from error
    except (ValueError, RuntimeError, DecodeError) as error:
        raise InvalidModel(f"'{path.name}' cannot be checked: {_first_lines(str(error))}") from error
    defaults = {tensor.name for tensor in model.graph.initializer}
    for value in model.graph.input:
        if value.name not in defaults:
            _check_protocol_type(value, "input")
    if not model.graph.output:
        raise InvalidModel(f"'{path.name}' has no outputs")
    makers = {name: node.op_type for node in model.graph.node for name in node.output}
    for value in model.graph.output:
        _check_protocol_type(value, "output", makers.get(value.name, ""))


def checker_input(model: onnx.ModelProto, path: Path) -> bytes | str:
    """Returns the input of ONNX's checker: the path, or the serialised structure where the file itself would be refused.

    The checker refuses external data with several hard links, which partitions and content-addressed stores have;
    `check_external` validated those files before. It also refuses operators that ONNX Runtime added to the standard
    domain and that exporters write.
    """
    sparse = [half for tensor in model.graph.sparse_initializer for half in (tensor.values, tensor.indices)]
    has_external = bool(external_tensors(model)) and not any(map(_is_external, sparse))
    foreign = any(node.op_type in _RUNTIME_OPERATORS and not node.domain for node in model.graph.node)
    if not has_external and not foreign:
        return str(path)
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    for node in bare.graph.node:
        if node.op_type in _RUNTIME_OPERATORS and not node.domain:
            node.domain = _RUNTIME_DOMAIN
    if foreign and all(opset.domain != _RUNTIME_DOMAIN for opset in bare.opset_import):
        bare.opset_import.add(domain=_RUNTIME_DOMAIN, version=1)
    for tensor in tensors_of(bare):
        if _is_external(tensor):
            tensor.data_location = onnx.TensorProto.DEFAULT
            del tensor.external_data[:]
            # A tensor without elements has no data that the checker could miss.
            tensor.dims[:] = [0]
    return bare.SerializeToString()


def _is_external(tensor: onnx.TensorProto) -> bool:
    return bool(tensor.data_location == onnx.TensorProto.EXTERNAL)


def source_digest(path: Path) -> Digest:
    """Returns the digest of a model's content: of its file and its external data, independent of their folder.

    The model's file is listed as `model.onnx` whatever its name, so a renamed model has the same digest.

    Raises:
        InvalidModel: As `load_structure`, or external data is missing.
    """
    model = load_structure(path)
    tensors = external_tensors(model)
    for tensor in tensors:
        check_external(tensor, path.parent)
    own = describe_file(path.parent, path.name)
    files = [type(own)("model.onnx", own.sha256, own.num_bytes)]
    files += describe_files(path.parent, sorted({tensor.location for tensor in tensors}))
    return listing_digest(files)


def _check_protocol_type(value: onnx.ValueInfoProto, role: str, maker: str = "") -> None:
    kind = value.type.WhichOneof("value")
    if kind is None:
        raise InvalidModel(f"{role} '{value.name}' has no type")
    if kind != "tensor_type":
        cure = _ZIPMAP_CURE if maker == "ZipMap" else ""
        raise InvalidModel(
            f"{role} '{value.name}' is of type {_type_name(value.type)}; "
            f"the Open Inference Protocol carries dense tensors only{cure}"
        )
    datatype = DATATYPE_OF.get(value.type.tensor_type.elem_type)
    if datatype is None or not datatype.in_protocol:
        raise InvalidModel(
            f"{role} '{value.name}' has element type {element_type_name(value.type.tensor_type.elem_type)}, "
            "which the Open Inference Protocol cannot carry"
        )


def _type_name(kind: onnx.TypeProto) -> str:
    """Returns a type in words: `sequence of map`."""
    name = (kind.WhichOneof("value") or "").removesuffix("_type")
    inner = getattr(kind, f"{name}_type", None)
    if name in {"sequence", "optional"} and inner is not None and inner.elem_type.WhichOneof("value"):
        return f"{name} of {_type_name(inner.elem_type)}"
    return name


def _first_lines(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " ".join(lines[:3])[:_MAX_MESSAGE_CHARS]
