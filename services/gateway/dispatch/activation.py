"""Activations: the frames that start one attempt."""

from __future__ import annotations

from collections.abc import Sequence

from onnxmesh.routing.balancer import Route
from onnxmesh.routing.table.routed_model import RoutedModel
from onnxmesh.rpc.frames.frame_tensors import write_tensors
from onnxmesh.rpc.frames.frames import Frame
from onnxmesh.tensors.tensor import Tensor
from onnxmesh.v1 import frame_pb2
from services.gateway.requests.inference_request import InferenceRequest


def activation_frames(
    request: InferenceRequest,
    key: frame_pb2.RequestKey,
    model: RoutedModel,
    route: Route,
    remaining_s: float,
    sent_unix_ns: int,
) -> list[tuple[int, Frame]]:
    """Returns the Activation for each hop of `route` that receives inputs from the gateway, hop 0 first.

    Tensors are not copied, not even where several hops receive the same one.

    Args:
        request: The request.
        key: Identifies the attempt.
        model: With its stages as they are now.
        route: One replica for each stage.
        remaining_s: Seconds until the deadline.
        sent_unix_ns: The time, in nanoseconds of Unix time.
    """
    activation = frame_pb2.Activation(
        key=key,
        request_id=request.request_id,
        route=frame_pb2.Route(
            hops=[
                frame_pb2.Hop(stage=stage.key, worker=replica.worker, address=replica.address)
                for stage, replica in zip(model.stages, route, strict=True)
            ]
        ),
        remaining_us=int(remaining_s * 1e6),
        sent_unix_ns=sent_unix_ns,
        traceparent=request.traceparent,
        priority=request.options.priority,
        split_of=request.split_of,
    )
    if not model.inputs_by_hop:
        return [(0, _first(activation, request, request.tensors))]
    frames = []
    for hop, names in model.inputs_by_hop.items():
        tensors = [tensor for tensor in request.tensors if tensor.name in names]
        frames.append(
            (hop, _direct(activation, hop, tensors) if hop else _first(activation, request, tensors))
        )
    return frames


def _first(activation: frame_pb2.Activation, request: InferenceRequest, tensors: Sequence[Tensor]) -> Frame:
    header = frame_pb2.FrameHeader(activation=activation)
    header.activation.requested_outputs.extend(request.requested_outputs)
    return Frame(header, write_tensors(header.activation, tensors))


def _direct(activation: frame_pb2.Activation, hop: int, tensors: Sequence[Tensor]) -> Frame:
    header = frame_pb2.FrameHeader(activation=activation)
    header.activation.hop = hop
    header.activation.direct = True
    return Frame(header, write_tensors(header.activation, tensors))
