"""gRPC reflection of the gateway's services."""

from __future__ import annotations

from google.protobuf.descriptor_pool import DescriptorPool

from services.gateway import reflection


class Server:
    """Keeps the handlers that it is given."""

    def __init__(self):
        self.handlers = []

    def add_generic_rpc_handlers(self, handlers):
        self.handlers += handlers

    def add_registered_method_handlers(self, service, handlers):
        self.service = service


def test_newest_reflection_refers_to_messages_of_its_own_version():
    """So that a client that requests its descriptor can build it, beside that of v1alpha."""
    pool = DescriptorPool()
    pool.AddSerializedFile(reflection._newest_reflection().SerializeToString())
    method = pool.FindServiceByName("grpc.reflection.v1.ServerReflection").methods_by_name[
        "ServerReflectionInfo"
    ]
    assert method.input_type.full_name == "grpc.reflection.v1.ServerReflectionRequest"
    fields = method.output_type.fields_by_name
    assert fields["original_request"].message_type is method.input_type


def test_enable_reflection_serves_every_descriptor_with_its_dependencies():
    """Each file is added after those that it imports, and once."""
    server, pool, added = Server(), DescriptorPool(), set()
    reflection.enable_reflection(server)
    assert server.handlers
    for file in reflection._SERVED:
        reflection._add(file, pool, added)
        reflection._add(file, pool, added)
    for name in ("inference.GRPCInferenceService", "onnxmesh.v1.Routing", "grpc.health.v1.Health"):
        assert pool.FindServiceByName(name).full_name == name
