"""Data planes of a mesh: with all optimisations, and with none."""

from __future__ import annotations

from dataclasses import dataclass

from onnxmesh.v1.model_pb2 import Batching


@dataclass(frozen=True)
class DataPlane:
    """Settings of services and deployments.

    Attributes:
        name: Part of the ids of tests.
        settings: Environment variables of every service, which ignores unknown ones.
        batching: Batching mode of deployments.
    """

    name: str
    settings: tuple[tuple[str, str], ...]
    batching: str

    def __str__(self) -> str:
        return self.name

    def spec(self) -> Batching:
        """Returns the batching of a deployment."""
        return Batching(mode=self.batching)


ON = DataPlane("on", (), "auto")
"""The defaults of services and deployments."""

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
"""Only streams of gRPC, and each request alone."""

BOTH = (ON, OFF)
