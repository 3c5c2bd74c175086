"""Conversion between registry entries and Consul services. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from onnxmesh.discovery.instance import Instance, Role
from onnxmesh.errors import InvalidRequest
from onnxmesh.v1 import registry_pb2

CheckKind = Literal["grpc", "ttl"]
"""Health check of a process: Consul calls its gRPC health service, or the process sends heartbeats (`ttl`), which also
works where the agent cannot reach it."""

MAX_PAIRS = 64
"""Most pairs of meta that Consul accepts for a service."""

MAX_KEY_CHARACTERS = 128
"""Longest key of a pair."""

MAX_VALUE_BYTES = 512
"""Longest value of a pair."""

_MAX_OWN_PAIRS = 40  # attributes with a pair of their own; the other pairs hold what does not fit
_ID, _GENERATION, _ATTRIBUTE, _REST = "mesh-id", "mesh-generation", "attr-", "rest-"
_ESCAPED = re.compile(rb"_([0-9A-F]{2})")


def service_name(prefix: str, role: Role) -> str:
    """Returns the name under which all instances of a role are registered."""
    return f"{prefix}-{role}"


def service_id(prefix: str, instance: Instance) -> str:
    """Returns the service id of an instance, unique on its agent."""
    return f"{prefix}-{instance.role}-{instance.id}"


def to_meta(instance: Instance) -> dict[str, str]:
    """Returns the service's meta for an instance; tags and address are fields of the service.

    Keys of Consul's meta consist of letters, digits, '-' and '_': other characters become `_` and two hexadecimal
    digits. Attributes that are too long or too many are written into the pairs `rest-…`, as JSON.

    Raises:
        InvalidRequest: The attributes do not fit at all (INVALID_ARGUMENT).
    """
    meta = {_ID: instance.id, _GENERATION: str(instance.generation)}
    rest: dict[str, str] = {}
    for name in sorted(instance.attributes):
        value = instance.attributes[name]
        key = _ATTRIBUTE + _escaped(name)
        fits = len(key) <= MAX_KEY_CHARACTERS and len(value.encode()) <= MAX_VALUE_BYTES
        if fits and len(meta) < _MAX_OWN_PAIRS:
            meta[key] = value
        else:
            rest[name] = value
    if rest:
        text = json.dumps(rest, separators=(",", ":"))  # ASCII alone: a character is a byte
        for number, start in enumerate(range(0, len(text), MAX_VALUE_BYTES)):
            meta[f"{_REST}{number:02}"] = text[start : start + MAX_VALUE_BYTES]
    if len(meta) > MAX_PAIRS:
        raise InvalidRequest(
            f"{instance.role} '{instance.id}' has more attributes than Consul accepts: "
            f"{len(meta)} pairs of {MAX_VALUE_BYTES} bytes, at most {MAX_PAIRS}"
        )
    return meta


def from_service(service: Mapping[str, Any], role: Role) -> Instance:
    """Reads an instance from a service as Consul lists it.

    Raises:
        InvalidRequest: The service is not of a mesh (INVALID_ARGUMENT).
    """
    meta = service.get("Meta") or {}
    address = f"{service.get('Address', '')}:{service.get('Port', 0)}"
    try:
        attributes = {
            _unescaped(key.removeprefix(_ATTRIBUTE)): value
            for key, value in meta.items()
            if key.startswith(_ATTRIBUTE)
        }
        attributes |= json.loads("".join(_rest(meta)) or "{}")
        message = registry_pb2.Instance(
            id=meta[_ID],
            role=role,
            address=address,
            generation=int(meta[_GENERATION]),
            tags=service.get("Tags") or (),
            attributes=attributes,
        )
    except (KeyError, ValueError, TypeError) as error:
        raise InvalidRequest(f"service '{service.get('ID')}' is not of a mesh: {error!r}") from error
    return Instance.from_proto(message)


def generation_of(service: Mapping[str, Any]) -> int:
    """Returns the generation that a service was registered with; 0 if it has none."""
    text = str((service.get("Meta") or {}).get(_GENERATION, ""))
    return int(text) if text.isdecimal() else 0


def _rest(meta: Mapping[str, str]) -> Iterable[str]:
    return (meta[key] for key in sorted(meta) if key.startswith(_REST))


def _escaped(name: str) -> str:
    return "".join(
        character
        if character.isascii() and (character.isalnum() or character == "-")
        else "".join(f"_{byte:02X}" for byte in character.encode())
        for character in name
    )


def _unescaped(key: str) -> str:
    return _ESCAPED.sub(lambda match: bytes([int(match[1], 16)]), key.encode()).decode()
