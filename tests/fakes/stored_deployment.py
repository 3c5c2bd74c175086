"""A small deployment for tests of stores."""

from __future__ import annotations

from random import Random

from onnxmesh.state.base import Deployment
from onnxmesh.v1.model_pb2 import Artefact, DeploymentSpec, Partition, Plan


def deployment(name="m", version=1, **plan):
    return Deployment(
        DeploymentSpec(name=name, version=version, replicas=2, require=["gpu"]),
        Plan(optimisation="all", partitions=[Partition(index=0)], **plan),
        Artefact(digest="d"),
    )


def large(name="big"):
    """A deployment whose record, though compressed, is larger than a value in Consul may be (512 KiB)."""
    return deployment(name, cpu_class=Random(0).randbytes(700_000).hex())
