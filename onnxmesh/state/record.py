"""Conversion between deployments and records of bytes. Pure."""

from __future__ import annotations

import json
import zlib
from dataclasses import fields
from typing import Any

from google.protobuf.message import DecodeError, Message

from onnxmesh.errors import CorruptData
from onnxmesh.state.base import Deployment
from onnxmesh.v1.model_pb2 import Artefact, DeploymentSpec, Plan

_MESSAGES: dict[str, type[Message]] = {"spec": DeploymentSpec, "plan": Plan, "source": Artefact}


def to_record(deployment: Deployment) -> bytes:
    """Returns the deployment as compressed bytes; equal deployments give equal bytes.

    Fields follow a line of JSON with the length of each. Releases with more fields can read these records, and this
    release can read theirs.
    """
    parts = {field.name: _bytes(getattr(deployment, field.name)) for field in fields(Deployment)}
    head = json.dumps({name: len(part) for name, part in parts.items()})
    return zlib.compress(head.encode() + b"\n" + b"".join(parts.values()), level=6)


def from_record(record: bytes) -> Deployment:
    """Reads what `to_record` wrote.

    Raises:
        CorruptData: The bytes are something else (DATA_LOSS).
    """
    try:
        head, _, body = zlib.decompress(record).partition(b"\n")
        known = {field.name for field in fields(Deployment)}
        values: dict[str, Any] = {}
        start = 0
        for name, length in json.loads(head).items():
            part = body[start : start + length]
            start += length
            if name in known:
                values[name] = _MESSAGES[name].FromString(part) if name in _MESSAGES else part
        if start != len(body):
            raise CorruptData(f"a deployment's record has {len(body)} bytes, {start} were announced")
        return Deployment(**values)
    except (zlib.error, ValueError, TypeError, AttributeError, DecodeError) as error:
        raise CorruptData(f"a deployment's record cannot be read: {error}") from error


def _bytes(value: Message | bytes) -> bytes:
    return value.SerializeToString(deterministic=True) if isinstance(value, Message) else value
