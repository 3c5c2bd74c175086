"""The source model: reading, validation and content digest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx
import onnxruntime
from google.protobuf.message import DecodeError

from onnxmesh.device.execution_provider import CPU
from onnxmesh.error_text import listed
from onnxmesh.errors import InvalidModel
from onnxmesh.files.digests import describe_file, describe_files, listing_digest
from onnxmesh.files.foreign_file import foreign_file
from onnxmesh.graph.reading.checker_input import check_structure
from onnxmesh.graph.reading.cycle import find_cycle
from onnxmesh.graph.reading.external_data import check_external, external_files, external_tensors
from onnxmesh.graph.reading.normalise import normalise
from onnxmesh.graph.runtime.element_types import DATATYPE_OF, element_type_name
from onnxmesh.graph.runtime.node_name import describe_node
from onnxmesh.graph.runtime.session import session_options
from onnxmesh.ids import Digest

_MAX_MESSAGE_CHARS = 500
_MODEL = "model.onnx"
"""The name under which the model's own file is listed."""
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


def check_source(path: Path, *, follow_links: bool = False) -> None:
    """Validates that a file is a model that a mesh can serve, without loading its weights.

    Args:
        path: The file.
        follow_links: See `check_external`.

    Raises:
        InvalidModel: Not ONNX, empty or truncated; external data missing, too short or outside the model's
            folder; refused by ONNX's checker and by ONNX Runtime; an input without a rank; an input or output of a type
            that the Open Inference Protocol lacks. The message names the tensor or node (INVALID_ARGUMENT).
    """
    model = load_structure(path)
    for tensor in external_tensors(model):
        check_external(tensor, path.parent, follow_links=follow_links)
    changed = normalise(model)
    defaults = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in defaults]
    for value in inputs:
        _check_rank(value)
    try:
        check_structure(model, path, changed=changed)
    except onnx.checker.ValidationError as error:
        if cycle := find_cycle(model.graph):
            nodes = listed(map(describe_node, cycle), quoted=False)
            raise InvalidModel(f"'{path.name}' has a cycle: {nodes}") from error
        if not _runtime_accepts(path):
            raise InvalidModel(f"'{path.name}' is not valid ONNX: {_first_lines(str(error))}") from error
    except (ValueError, RuntimeError, DecodeError) as error:
        raise InvalidModel(f"'{path.name}' cannot be checked: {_first_lines(str(error))}") from error
    for value in inputs:
        _check_protocol_type(value, "input")
    if not model.graph.output:
        raise InvalidModel(f"'{path.name}' has no outputs")
    makers = {name: node.op_type for node in model.graph.node for name in node.output}
    for value in model.graph.output:
        # Without a declared type it is inferred, and checked, by `signature_of`.
        if value.type.WhichOneof("value") is not None:
            _check_protocol_type(value, "output", makers.get(value.name, ""))


def _runtime_accepts(path: Path) -> bool:
    """Whether ONNX Runtime loads a model: what it runs is served, even where the checker refuses it."""
    options = session_options()
    options.add_session_config_entry("session.disable_prepacking", "1")
    try:
        onnxruntime.InferenceSession(str(path), options, providers=[CPU])
    except Exception:  # noqa: BLE001 # ONNX Runtime's errors share no base class of their own
        return False
    return True


def source_digest(path: Path) -> Digest:
    """Returns the digest of a model's content: of its file and its external data, independent of their folder.

    The model's file is listed as `model.onnx` whatever its name, so a renamed model has the same digest.

    Raises:
        InvalidModel: As `load_structure`, or external data is missing.
    """
    model = load_structure(path)
    for tensor in external_tensors(model):
        check_external(tensor, path.parent, follow_links=True)
    own = replace(describe_file(path.parent, path.name), path=_MODEL)
    return listing_digest([own, *describe_files(external_files(model, path.parent))])


def _check_rank(value: onnx.ValueInfoProto) -> None:
    if value.type.WhichOneof("value") == "tensor_type" and not value.type.tensor_type.HasField("shape"):
        raise InvalidModel(
            f"input '{value.name}' has no declared shape: requests are checked against its rank, and plans need it. "
            "Declare a shape, with a name such as 'N' for each dimension that varies"
        )


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
