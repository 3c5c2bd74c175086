"""Message classes of other clients of the Open Inference Protocol, built from facts about their stubs.

`kserve` and `mlserver` are no dependencies of the tests: each brings a web framework, pandas and the Kubernetes or Kafka client, and they
disagree about protobuf and psutil. `messages_of_clients.json` has the fields of their stubs; `tools/read_messages.py` writes it.
"""

from __future__ import annotations

import json
from pathlib import Path

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from tritonclient.grpc import service_pb2

from onnxmesh.oip import open_inference_pb2
from tools.read_messages import MAP_ENTRY, facts

FACTS = json.loads((Path(__file__).parent / "messages_of_clients.json").read_text())
"""Fields of each message, by the name of the client."""


def _facts_of(file):
    proto = FileDescriptorProto()
    file.CopyToProto(proto)
    return facts(proto)


TRITON = "tritonclient"
ALL = {**FACTS, TRITON: _facts_of(service_pb2.DESCRIPTOR)}
"""The same, with those of the installed tritonclient."""

OURS = _facts_of(open_inference_pb2.DESCRIPTOR)


def client_message(client: str, name: str):
    """Returns the class of a message as a client knows it, such as `ModelInferResponse`."""
    if client == TRITON:
        return getattr(service_pb2, name)
    pool = DescriptorPool()
    pool.Add(_file(FACTS[client]))
    return GetMessageClass(pool.FindMessageTypeByName(f"inference.{name}"))


def _file(messages) -> FileDescriptorProto:
    file = FileDescriptorProto(name="client.proto", package="inference", syntax="proto3")
    by_name = {".inference": file}
    for full_name, fields in messages.items():
        parent, _, name = full_name.rpartition(".")
        owner = by_name[parent]
        message = owner.message_type.add() if owner is file else owner.nested_type.add()
        by_name[full_name] = message
        message.name = name
        for field in fields:
            if field == [MAP_ENTRY]:
                message.options.map_entry = True
                continue
            number, field_name, label, kind, type_name = field
            message.field.add(
                number=number,
                name=field_name,
                label=FieldDescriptorProto.Label.Value(label),
                type=FieldDescriptorProto.Type.Value(kind),
                type_name=type_name or None,
            )
    return file
