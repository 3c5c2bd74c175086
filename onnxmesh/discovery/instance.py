"""Registry entry of one process of the mesh."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from onnxmesh.errors import InvalidRequest
from onnxmesh.v1 import registry_pb2

Role = Literal["worker", "gateway", "scheduler"]

ROLES: tuple[Role, ...] = get_args(Role)
"""Every role."""

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
_ADDRESS = re.compile(r"\S+:[0-9]{1,5}")


@dataclass(frozen=True, slots=True)
class Instance:
    """Registry entry of one process.

    Attributes:
        id: Name of the worker, gateway or scheduler.
        role: Its service.
        address: `HOST:PORT` at which peers reach it.
        generation: Start time of the process; increases with every start of that id.
        tags: Tags set by the operator or the process itself.
        attributes: Values by name, such as `cpu.class`, `device`, `cores`, `memory.bytes`.
    """

    id: str
    role: Role
    address: str
    generation: int
    tags: tuple[str, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)

    def to_proto(self) -> registry_pb2.Instance:
        """Returns the instance as a message."""
        return registry_pb2.Instance(
            id=self.id,
            role=self.role,
            address=self.address,
            generation=self.generation,
            tags=self.tags,
            attributes=self.attributes,
        )

    @classmethod
    def from_proto(cls, message: registry_pb2.Instance) -> Instance:
        """Reads what `to_proto` wrote.

        Raises:
            InvalidRequest: Id, role or address is malformed (INVALID_ARGUMENT).
        """
        if not _ID.fullmatch(message.id):
            raise InvalidRequest(
                f"an id has up to 128 letters, digits and '._:-', a letter or digit first; got {message.id[:80]!r}"
            )
        if not _ADDRESS.fullmatch(message.address):
            raise InvalidRequest(f"{message.id}: expected an address HOST:PORT, got {message.address[:80]!r}")
        if message.role not in ROLES:
            raise InvalidRequest(
                f"{message.id}: a role is 'worker', 'gateway' or 'scheduler', got {message.role[:80]!r}"
            )
        return cls(
            id=message.id,
            role=message.role,
            address=message.address,
            generation=message.generation,
            tags=tuple(message.tags),
            attributes=dict(message.attributes),
        )
