"""Types and shapes of all values of a graph, as ONNX Runtime infers them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnxruntime

from onnxmesh.device.execution_provider import CPU
from onnxmesh.errors import CorruptData, InvalidModel
from onnxmesh.graph.reading.source import load_structure
from onnxmesh.graph.runtime.element_types import datatype_of_runtime_type
from onnxmesh.graph.runtime.runtime_errors import load_error_reason
from onnxmesh.graph.runtime.session import session_options
from onnxmesh.model.input_shapes import Dim
from onnxmesh.model.optimisation_level import OptimisationLevel
from onnxmesh.tensors.datatype import Datatype

__all__ = [
    "Dim",
    "ValueType",
    "declared_dims",
    "infer_shapes_at",
    "infer_types",
    "types_from_json",
    "types_to_json",
]


@dataclass(frozen=True, slots=True)
class ValueType:
    """Type and shape of a value as inferred before the graph runs.

    Attributes:
        runtime_type: ONNX Runtime's name for its type, such as `tensor(float)` or `seq(tensor(int64))`.
        dims: Its dimensions; None if the rank is unknown.
    """

    runtime_type: str
    dims: tuple[Dim, ...] | None

    @property
    def datatype(self) -> Datatype | None:
        """The datatype of the value; None for a type that cannot be sent: sequences, maps, optional values."""
        return datatype_of_runtime_type(self.runtime_type)

    @property
    def shape(self) -> tuple[int, ...] | None:
        """Dimensions as integers, -1 for a free one; None if the rank is unknown."""
        if self.dims is None:
            return None
        return tuple(dim if isinstance(dim, int) and dim >= 0 else -1 for dim in self.dims)


def infer_types(model_path: Path, names: Iterable[str]) -> dict[str, ValueType]:
    """Returns type and shape of the named values and of the model's inputs, by name.

    Every value is made an output of a copy of the model, without a type: ONNX Runtime then reports the type that it
    inferred, for its own fused operators too, which ONNX's shape inference lacks.

    Args:
        model_path: An optimised model. The copy is written beside it, where external weights are found,
            and removed.
        names: Values of the top-level graph.

    Raises:
        InvalidModel: ONNX Runtime cannot load the model (INVALID_ARGUMENT).
    """
    model = load_structure(model_path)
    declared = {value.name: declared_dims(value) for value in [*model.graph.input, *model.graph.output]}
    session = _probe(model, model_path, names, OptimisationLevel.NONE)
    arguments = [*session.get_inputs(), *session.get_outputs()]
    types = {
        argument.name: ValueType(argument.type, tuple(argument.shape) if argument.shape else None)
        for argument in arguments
    }
    # ONNX Runtime reports [] for a scalar and for an unknown rank.
    ambiguous = [name for name, value in types.items() if value.dims is None and value.datatype is not None]
    if ambiguous:
        scalars = _scalars(model, ambiguous)
        for name in ambiguous:
            if name in scalars or declared.get(name) == ():
                types[name] = ValueType(types[name].runtime_type, ())
            elif declared.get(name):
                types[name] = ValueType(types[name].runtime_type, declared[name])
    return types


def infer_shapes_at(
    model_path: Path, names: Iterable[str], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, tuple[int, ...]]:
    """Returns the shapes that values have at one shape of the inputs, as far as inference finds them.

    With all inputs fixed, ONNX Runtime folds shape computations, so that the result of a Reshape to a computed
    shape is known too. For estimates only: a partition must not declare such shapes.

    Args:
        model_path: As `infer_types`.
        names: As `infer_types`.
        shapes: A shape for each input.

    Returns:
        Shapes by name, of values in subgraphs too as far as ONNX's shape inference finds them; empty if the model
        refuses these shapes.
    """
    model = load_structure(model_path)
    defaults = {tensor.name for tensor in model.graph.initializer}
    sizes: dict[str, int] = {}
    for value in model.graph.input:
        if value.name not in defaults and value.name in shapes:
            named = zip(declared_dims(value) or (), shapes[value.name], strict=False)
            sizes |= {dim: size for dim, size in named if isinstance(dim, str)}
            _fix(value, shapes[value.name])
    inner = _inner_shapes(model, sizes)
    try:
        session = _probe(model, model_path, names, OptimisationLevel.BASIC)
    except InvalidModel:
        return inner
    return inner | {
        argument.name: tuple(argument.shape)
        for argument in [*session.get_inputs(), *session.get_outputs()]
        if argument.shape and all(isinstance(dim, int) and dim >= 0 for dim in argument.shape)
    }


def _fix(value: onnx.ValueInfoProto, shape: tuple[int, ...]) -> None:
    declared = value.type.tensor_type.shape
    del declared.dim[:]
    for size in shape:
        declared.dim.add().dim_value = size


def _inner_shapes(model: onnx.ModelProto, sizes: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    """Returns the shapes within subgraphs, which ONNX Runtime does not report; unknown dimensions are 1."""
    if not _bodies(model.graph):
        return {}
    try:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except Exception:  # noqa: BLE001 # for estimates only: those shapes stay unknown
        return {}
    found: dict[str, tuple[int, ...]] = {}
    graphs = _bodies(inferred.graph)
    while graphs:
        graph = graphs.pop()
        graphs += _bodies(graph)
        for value in [*graph.value_info, *graph.input, *graph.output]:
            dims = declared_dims(value)
            if dims is not None:
                found[value.name] = tuple(
                    dim if isinstance(dim, int) else sizes.get(dim, 1) if dim else 1 for dim in dims
                )
    return found


def _bodies(graph: onnx.GraphProto) -> list[onnx.GraphProto]:
    return [attribute.g for node in graph.node for attribute in node.attribute if attribute.HasField("g")]


def _probe(
    model: onnx.ModelProto, model_path: Path, names: Iterable[str], level: OptimisationLevel
) -> onnxruntime.InferenceSession:
    """Loads a copy of the model whose outputs are the named values (the model's own if there are none)."""
    wanted = list(dict.fromkeys(names))
    del model.graph.value_info[:]
    if wanted:
        del model.graph.output[:]
    for name in wanted:
        model.graph.output.add().name = name
    probe = model_path.with_name(f".{model_path.stem}.probe.onnx")
    options = session_options(level=level)
    options.add_session_config_entry("session.disable_prepacking", "1")
    try:
        probe.write_bytes(model.SerializeToString())
        return onnxruntime.InferenceSession(str(probe), options, providers=[CPU])
    except Exception as error:  # ONNX Runtime's errors share no base class of their own
        raise InvalidModel(
            f"ONNX Runtime cannot load the model: {load_error_reason(error, model)}"
        ) from error
    finally:
        probe.unlink(missing_ok=True)


def declared_dims(value: onnx.ValueInfoProto) -> tuple[Dim, ...] | None:
    """Returns the dimensions that a model declares for a value; None if the rank is not declared."""
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return tuple(
        dim.dim_value if dim.HasField("dim_value") else (dim.dim_param or None) for dim in tensor.shape.dim
    )


def _scalars(model: onnx.ModelProto, names: Iterable[str]) -> set[str]:
    """Returns those of `names` that ONNX's shape inference finds to be scalars."""
    del model.graph.output[:]
    try:
        inferred = onnx.shape_inference.infer_shapes(model)
    except Exception:  # noqa: BLE001 # a fallback only: the rank stays unknown
        return set()
    known = {
        value.name
        for value in [*inferred.graph.value_info, *inferred.graph.input]
        if declared_dims(value) == ()
    }
    return known.intersection(names)


def types_to_json(types: Mapping[str, ValueType]) -> str:
    """Returns types as one line of JSON."""
    plain = {name: [value.runtime_type, value.dims] for name, value in types.items()}
    return json.dumps(plain, separators=(",", ":"))


def types_from_json(text: str) -> dict[str, ValueType]:
    """Reads what `types_to_json` wrote.

    Raises:
        CorruptData: The text is no list of value types (DATA_LOSS).
    """
    try:
        return {
            name: ValueType(str(runtime_type), None if dims is None else tuple(dims))
            for name, (runtime_type, dims) in json.loads(text).items()
        }
    except (AttributeError, TypeError, ValueError) as error:
        raise CorruptData(f"not a list of value types: {error}") from error
