"""Arrays as Open Inference requests, and responses as `InferResult`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from onnxmesh.client.infer_result import Array, InferResult
from onnxmesh.client.route_options import NO_OPTIONS, RouteOptions
from onnxmesh.client.trace import TRACE_PARAMETER, RouteTrace
from onnxmesh.errors import CorruptData
from onnxmesh.oip.open_inference_pb2 import InferParameter, ModelInferRequest, ModelInferResponse
from onnxmesh.tensors.arrays import from_array, to_array
from onnxmesh.tensors.datatype import Datatype
from onnxmesh.tensors.tensor import Tensor


def infer_request(
    model: str,
    inputs: Mapping[str, Array],
    *,
    outputs: Sequence[str] | None = None,
    version: str = "",
    request_id: str = "",
    datatypes: Mapping[str, Datatype] | None = None,
    trace: bool = False,
    options: RouteOptions = NO_OPTIONS,
) -> ModelInferRequest:
    """Returns the request of `MeshClient.infer`, which documents the arguments.

    Raises:
        InvalidRequest: No datatype of the protocol holds an array's elements, or a selector cannot be
            parsed (INVALID_ARGUMENT).
    """
    request = ModelInferRequest(model_name=model, model_version=version, id=request_id)
    for name, array in inputs.items():
        tensor = from_array(name, array, (datatypes or {}).get(name))
        request.inputs.add(name=name, datatype=tensor.datatype.value, shape=tensor.shape)
        request.raw_input_contents.append(bytes(tensor.data))
    for name in outputs or ():
        request.outputs.add(name=name)
    if trace:
        request.parameters[TRACE_PARAMETER].CopyFrom(InferParameter(bool_param=True))
    options.set_parameters(request)
    return request


def parse_infer_response(response: ModelInferResponse) -> InferResult:
    """Returns the outputs and the trace of a response.

    Raises:
        CorruptData: The tensors do not match the response's own header (DATA_LOSS).
    """
    if len(response.outputs) != len(response.raw_output_contents):
        raise CorruptData(
            f"expected {len(response.outputs)} raw outputs, got {len(response.raw_output_contents)}"
        )
    arrays: dict[str, Array] = {}
    for output, raw in zip(response.outputs, response.raw_output_contents, strict=True):
        try:
            tensor = Tensor(output.name, Datatype(output.datatype), tuple(output.shape), raw)
            arrays[output.name] = to_array(tensor)
        except ValueError as error:
            raise CorruptData(f"output '{output.name}' cannot be read: {error}") from error
    trace = response.parameters.get(TRACE_PARAMETER)
    return InferResult(
        model=response.model_name,
        version=response.model_version,
        request_id=response.id,
        outputs=arrays,
        trace=RouteTrace.from_json(trace.string_param) if trace is not None else None,
    )
