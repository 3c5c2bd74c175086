"""A small deployment for tests of stores."""

from __future__ import annotations

from onnxmesh.state.base import Deployment
from onnxmesh.v1.model_pb2 import Artefact, DeploymentSpec, Partition, Plan


def deployment(name="m", version=1, **plan):
    return Deployment(
        DeploymentSpec(name=name, version=version, replicas=2, require=["gpu"]),
        Plan(optimisation="all", partitions=[Partition(index=0)], **plan),
        Artefact(digest="d"),
    )


def large(name="big"):
    """A deployment whose record is larger than any value in Consul may be."""
    noise = "".join(chr(33 + (number * number * 7919 + number // 13) % 90) for number in range(3_000_000))
    return deployment(name, cpu_class=noise)
