"""Ways for tensors through a mesh: with everything that makes them cheap, and without any of it."""

from __future__ import annotations

from dataclasses import dataclass

from onnxmesh.v1.model_pb2 import Batching


@dataclass(frozen=True)
class DataPlane:
    """What is in use between client and answer.

    Attributes:
        name: Stands in the ids of tests.
        settings: Of every service, as environment variables; a service ignores what it has no setting for.
        batching: Mode of deployments.
    """

    name: str
    settings: tuple[tuple[str, str], ...]
    batching: str

    def __str__(self) -> str:
        return self.name

    def spec(self) -> Batching:
        """Returns what a deployment says of batching."""
        return Batching(mode=self.batching)


ON = DataPlane("on", (), "auto")
"""As services and deployments are by default."""

OFF = DataPlane(
    "off",
    (
        ("ONNXMESH_SAME_HOST", "false"),
        ("ONNXMESH_GATHERING", "false"),
        ("ONNXMESH_MICRO_BATCHES", "false"),
        ("ONNXMESH_EDGE", "grpc"),
    ),
    "off",
)
"""Streams of gRPC alone, and each request by itself."""

BOTH = (ON, OFF)
