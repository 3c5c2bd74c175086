"""The Open Inference Protocol over gRPC."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from time import monotonic
from typing import Any, Protocol, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import DecodeError, Message

from onnxmesh import __version__
from onnxmesh.deadline import Clock, Deadline
from onnxmesh.errors import CorruptData, InvalidRequest, NotFound, Unavailable
from onnxmesh.http2.server.call import CallContext
from onnxmesh.oip import open_inference_pb2 as oip
from onnxmesh.routing.table.random_source import RandomSource
from onnxmesh.routing.table.routed_model import RoutedModel
from onnxmesh.routing.table.table import RoutingTable
from onnxmesh.rpc.grpc.interceptor import Context
from onnxmesh.tensors.tensor import Buffer, Tensor
from services.gateway.inference.admission import Admission
from services.gateway.inference.metadata import model_metadata
from services.gateway.inference.parameters import TRACE, read_options
from services.gateway.inference.request_codec import decode_request
from services.gateway.inference.request_metrics import RequestMetrics
from services.gateway.inference.request_templates import RequestTemplate, RequestTemplates
from services.gateway.inference.response_codec import encode_response
from services.gateway.inference.validation import read_inputs, read_outputs
from services.gateway.requests.inference_request import InferenceLayer, InferenceRequest, InferenceResult

SERVICE = "inference.GRPCInferenceService"
MODEL_INFER = f"/{SERVICE}/ModelInfer"

MAX_RESPONSE_HEADS = 16
"""Most encoded response heads that one request template keeps."""

_Request = TypeVar("_Request", bound=Message)


class InferencePath(Protocol):
    """Where requests go: `services.gateway.request_path.RequestPath`.

    Attributes:
        alone: For a request that no other is in flight with.
        entry: For every other request.
    """

    alone: InferenceLayer
    entry: InferenceLayer


class InferenceServicer:
    """The six methods of the protocol. Belongs to one event loop.

    Messages are decoded and encoded here, not by gRPC: so a malformed one is an error like any other, and tensors are
    copied once.

    Args:
        table: Returns the route table in force, or None before the first one.
        path: Runs requests.
        admission: Bounds the requests in flight.
        metrics: Counts requests.
        default_timeout_s: Deadline of requests without one.
        max_message_bytes: Largest response.
        rng: Draws the version of requests that name none.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        table: Callable[[], RoutingTable | None],
        path: InferencePath,
        admission: Admission,
        *,
        metrics: RequestMetrics,
        default_timeout_s: float,
        max_message_bytes: int,
        rng: RandomSource,
        clock: Clock = monotonic,
    ) -> None:
        self._table = table
        self._path = path
        self._admission = admission
        self._metrics = metrics
        self._default_timeout_s = default_timeout_s
        self._max_message_bytes = max_message_bytes
        self._rng = rng
        self._clock = clock
        self._templates = RequestTemplates()
        self._server_metadata = oip.ServerMetadataResponse(name="onnxmesh", version=__version__)

    def handler(self) -> grpc.GenericRpcHandler:
        """Returns the handler of all methods; add it to the server."""
        methods: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
            "ServerLive": _unary(oip.ServerLiveRequest, self.server_live),
            "ServerReady": _unary(oip.ServerReadyRequest, self.server_ready),
            "ModelReady": _unary(oip.ModelReadyRequest, self.model_ready),
            "ServerMetadata": _unary(oip.ServerMetadataRequest, self.server_metadata),
            "ModelMetadata": _unary(oip.ModelMetadataRequest, self.model_metadata),
            "ModelInfer": grpc.unary_unary_rpc_method_handler(self.model_infer),
        }
        return grpc.method_handlers_generic_handler(SERVICE, methods)

    def server_live(self, _: oip.ServerLiveRequest) -> oip.ServerLiveResponse:
        """True: the process answers."""
        return oip.ServerLiveResponse(live=True)

    def server_ready(self, _: oip.ServerReadyRequest) -> oip.ServerReadyResponse:
        """Whether there is a route table in which every model has a complete route."""
        table = self._table()
        return oip.ServerReadyResponse(ready=table is not None and table.is_complete)

    def model_ready(self, request: oip.ModelReadyRequest) -> oip.ModelReadyResponse:
        """Whether the model has a complete route; an unknown one is not ready.

        Raises:
            InvalidRequest: The version is not a number (INVALID_ARGUMENT).
        """
        try:
            return oip.ModelReadyResponse(ready=self._find(request.name, request.version).is_complete)
        except (NotFound, Unavailable):
            return oip.ModelReadyResponse(ready=False)

    def server_metadata(self, _: oip.ServerMetadataRequest) -> oip.ServerMetadataResponse:
        """Name and version. No extension: raw contents are no extension over gRPC."""
        return self._server_metadata

    def model_metadata(self, request: oip.ModelMetadataRequest) -> oip.ModelMetadataResponse:
        """The model's versions, inputs and outputs.

        Raises:
            NotFound: There is no such model or version (NOT_FOUND).
            Unavailable: There is no route table yet (UNAVAILABLE).
        """
        model = self._find(request.name, request.version)
        table = self._table()
        return model_metadata(model, table.versions(request.name) if table is not None else [model])

    async def model_infer(self, message: Buffer, context: CallContext) -> bytes:
        """Runs a model.

        Raises:
            InvalidRequest: The request does not match the protocol or the signature (INVALID_ARGUMENT).
            TooLarge: The response is larger than a message may be (RESOURCE_EXHAUSTED).
            MeshError: See `Admission.admitted` and the layers of `RequestPath`.
        """
        with self._metrics.measure() as measurement, self._admission.admitted():
            model: RoutedModel | None = None
            found = self._templates.find(message)
            if found is not None:
                template, tensors = found
                # Drawn once, so that validation, retries and the response refer to one version.
                model = measurement.model = self._find(template.name, template.version, self._rng)
                if model is template.model:
                    deadline = self._deadline(context, None)
                    request = InferenceRequest(
                        model, tensors, template.outputs, deadline, traceparent=_traceparent(context)
                    )
                    is_alone = self._admission.num_running == 1
                    layer = self._path.alone if is_alone else self._path.entry
                    return self._encoded(await layer.infer(request), request, template)
            parsed, raw_inputs = decode_request(message)
            if model is None:
                model = measurement.model = self._find(parsed.model_name, parsed.model_version, self._rng)
            options = read_options(parsed.parameters)
            request = InferenceRequest(
                model=model,
                requested_outputs=read_outputs(parsed, model),
                tensors=read_inputs(parsed, raw_inputs, model),
                deadline=self._deadline(context, options.timeout_s),
                request_id=parsed.id,
                traceparent=_traceparent(context),
                options=options,
            )
            self._templates.add(message, parsed, raw_inputs, model, request.tensors)
            return self._encoded(await self._path.entry.infer(request), request)

    def _encoded(
        self,
        result: InferenceResult,
        request: InferenceRequest,
        template: RequestTemplate | None = None,
    ) -> bytes:
        """Returns the encoded response; all but its tensor contents may be known from an earlier one of the template."""
        model = request.model
        tensors = _in_order(result.tensors, request.requested_outputs or model.output_by_name, model)
        shapes = tuple([(tensor.datatype, tensor.shape) for tensor in tensors])
        head = None if template is None else template.response_heads.get(shapes)
        if head is None:
            response = oip.ModelInferResponse(
                model_name=model.name, model_version=str(model.version), id=request.request_id
            )
            if request.options.trace:
                response.parameters[TRACE].string_param = result.trace.to_json()
            for tensor in tensors:
                response.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
            head = response.SerializeToString()
            if template is not None and len(template.response_heads) < MAX_RESPONSE_HEADS:
                template.response_heads[shapes] = head
        return encode_response(head, [tensor.data for tensor in tensors], self._max_message_bytes)

    def _find(self, name: str, model_version: str, rng: RandomSource | None = None) -> RoutedModel:
        table = self._table()
        if table is None:
            raise Unavailable(f"model '{name}': the gateway has no route table of a scheduler yet")
        return table.find(name, model_version, rng)

    def _deadline(self, context: CallContext, timeout_s: float | None) -> Deadline:
        remaining_s = context.time_remaining()
        if remaining_s is None:
            remaining_s = self._default_timeout_s
        if timeout_s is not None:
            remaining_s = min(remaining_s, timeout_s)
        return Deadline.after(remaining_s, self._clock)


def _unary(
    request_type: type[_Request], method: Callable[[_Request], Message]
) -> grpc.RpcMethodHandler[bytes, bytes]:
    async def call(message: bytes, _: Context) -> bytes:
        try:
            request = request_type.FromString(message)
        except DecodeError as error:
            raise InvalidRequest(f"expected a {request_type.__name__}, got malformed bytes") from error
        return method(request).SerializeToString()

    behaviour: Callable[[bytes, Any], Awaitable[bytes]] = call
    return grpc.unary_unary_rpc_method_handler(behaviour)


def _in_order(tensors: Iterable[Tensor], names: Iterable[str], model: RoutedModel) -> list[Tensor]:
    by_name = {tensor.name: tensor for tensor in tensors}
    try:
        return [by_name[name] for name in names]
    except KeyError as missing:
        raise CorruptData(f"{model}: the last stage's result lacks output {missing}") from None


def _traceparent(context: CallContext) -> str:
    for key, value in context.invocation_metadata() or ():
        if key == "traceparent" and isinstance(value, str):
            return value
    return ""
