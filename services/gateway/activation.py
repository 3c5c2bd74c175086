"""The frame that starts one attempt."""

from __future__ import annotations

from collections.abc import Sequence

from onnxmesh.routing.pick import Route
from onnxmesh.routing.table import RoutedStage
from onnxmesh.rpc.frames import Frame
from onnxmesh.v1 import frame_pb2
from services.gateway.order import Order


def activation_frame(
    order: Order,
    key: frame_pb2.RequestKey,
    stages: Sequence[RoutedStage],
    route: Route,
    remaining_s: float,
    sent_unix_ns: int,
) -> Frame:
    """Returns the Activation for hop 0 of `route`; tensors are not copied.

    Args:
        order: The request.
        key: Names the attempt.
        stages: Of the model, as long as the route.
        route: One replica for each stage.
        remaining_s: Seconds until the deadline.
        sent_unix_ns: Now.
    """
    hops = [
        frame_pb2.Hop(stage=stage.key, worker=replica.worker, address=replica.address)
        for stage, replica in zip(stages, route, strict=True)
    ]
    tensors = [
        frame_pb2.Tensor(
            name=tensor.name, datatype=tensor.datatype, shape=tensor.shape, byte_size=tensor.byte_size
        )
        for tensor in order.tensors
    ]
    activation = frame_pb2.Activation(
        key=key,
        request_id=order.request_id,
        route=frame_pb2.Route(hops=hops),
        remaining_us=int(remaining_s * 1e6),
        tensors=tensors,
        requested_outputs=order.requested_outputs,
        sent_unix_ns=sent_unix_ns,
        traceparent=order.traceparent,
    )
    return Frame(frame_pb2.FrameHeader(activation=activation), tuple(tensor.data for tensor in order.tensors))
