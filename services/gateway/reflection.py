"""gRPC reflection, by which clients without stubs call the gateway."""

from __future__ import annotations

import grpc.aio
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2

from onnxmesh.oip import open_inference_pb2
from onnxmesh.v1 import mesh_pb2

_SERVED: tuple[FileDescriptor, ...] = (
    open_inference_pb2.DESCRIPTOR,
    mesh_pb2.DESCRIPTOR,
    health_pb2.DESCRIPTOR,
    reflection_pb2.DESCRIPTOR,
)


def enable_reflection(server: grpc.aio.Server) -> None:
    """Serves the descriptors of every service of the gateway.

    The Open Inference messages are not in protobuf's default pool, hence a pool of their own.
    """
    pool = DescriptorPool()
    added: set[str] = set()
    for file in _SERVED:
        _add(file, pool, added)
    services = [service.full_name for file in _SERVED for service in file.services_by_name.values()]
    reflection.enable_server_reflection(services, server, pool)


def _add(file: FileDescriptor, pool: DescriptorPool, added: set[str]) -> None:
    if file.name in added:
        return
    added.add(file.name)
    for dependency in file.dependencies:
        _add(dependency, pool, added)
    pool.AddSerializedFile(file.serialized_pb)
