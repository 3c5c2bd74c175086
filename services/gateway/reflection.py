"""gRPC reflection, by which clients without stubs call the gateway."""

from __future__ import annotations

import grpc
import grpc.aio
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc

from onnxmesh.oip import open_inference_pb2
from onnxmesh.v1 import mesh_pb2

_SERVED: tuple[FileDescriptor, ...] = (
    open_inference_pb2.DESCRIPTOR,
    mesh_pb2.DESCRIPTOR,
    health_pb2.DESCRIPTOR,
    reflection_pb2.DESCRIPTOR,
)


_OLD, _NEW = "grpc.reflection.v1alpha", "grpc.reflection.v1"


def enable_reflection(server: grpc.aio.Server) -> None:
    """Serves the descriptors of every service of the gateway, by both versions of the reflection service.

    The messages of `v1` are those of `v1alpha` under another package, so one servicer answers both. The Open Inference messages are
    not in protobuf's default pool, hence a pool of their own.
    """
    pool = DescriptorPool()
    added: set[str] = set()
    for file in _SERVED:
        _add(file, pool, added)
    newest = _newest_reflection()
    pool.AddSerializedFile(newest.SerializeToString())
    services = [service.full_name for file in _SERVED for service in file.services_by_name.values()]
    (service,) = newest.service
    name = f"{newest.package}.{service.name}"
    servicer = reflection.aio.ReflectionServicer([*services, name], pool=pool)
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(servicer, server)
    handlers = {
        method.name: grpc.stream_stream_rpc_method_handler(
            getattr(servicer, method.name),
            reflection_pb2.ServerReflectionRequest.FromString,
            reflection_pb2.ServerReflectionResponse.SerializeToString,
        )
        for method in service.method
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))


def _newest_reflection() -> FileDescriptorProto:
    """Returns the descriptor of the reflection service's version 1, made of that of `v1alpha`."""
    file = FileDescriptorProto.FromString(reflection_pb2.DESCRIPTOR.serialized_pb)
    file.name = file.name.replace("v1alpha", "v1")
    file.package = _NEW
    for message in file.message_type:
        for field in message.field:
            if field.type_name:
                field.type_name = field.type_name.replace(_OLD, _NEW)
    for method in file.service[0].method:
        method.input_type = method.input_type.replace(_OLD, _NEW)
        method.output_type = method.output_type.replace(_OLD, _NEW)
    return file


def _add(file: FileDescriptor, pool: DescriptorPool, added: set[str]) -> None:
    if file.name in added:
        return
    added.add(file.name)
    for dependency in file.dependencies:
        _add(dependency, pool, added)
    pool.AddSerializedFile(file.serialized_pb)
