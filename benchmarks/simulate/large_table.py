"""A large mesh, as its scheduler sees it."""

from __future__ import annotations

from onnxmesh.discovery.instance import Instance
from onnxmesh.ids import StageKey, WorkerId, stage_key
from onnxmesh.state.base import Deployment
from onnxmesh.v1.model_pb2 import Artefact, DeploymentSpec, Partition, Plan, Signature, TensorSpec

NUM_MODELS = 1000
NUM_WORKERS = 10_000
NUM_REPLICAS = 20
"""Replicas of each model: every worker then holds two stages."""


class LargeTable:
    """What a route table is made from.

    Attributes:
        deployments: Models of one stage.
        routed: For each stage its workers.
        workers: All workers, with about as many attributes as a real one has.
    """

    def __init__(self) -> None:
        self.deployments = [_deployment(f"model-{number}") for number in range(NUM_MODELS)]
        self.workers = {WorkerId(f"worker-{number}"): _worker(number) for number in range(NUM_WORKERS)}
        ids = list(self.workers)
        self.routed: dict[StageKey, tuple[WorkerId, ...]] = {
            stage_key(each.name, each.version, 0): tuple(
                ids[(number * NUM_REPLICAS + replica) % NUM_WORKERS] for replica in range(NUM_REPLICAS)
            )
            for number, each in enumerate(self.deployments)
        }


def _deployment(name: str) -> Deployment:
    tensors = [TensorSpec(name=name, datatype="FP32", shape=[-1, 256]) for name in ("input", "output")]
    plan = Plan(
        signature=Signature(inputs=tensors[:1], outputs=tensors[1:]),
        partitions=[Partition(artefact=Artefact(digest="d"))],
    )
    return Deployment(DeploymentSpec(name=name, version=1, replicas=NUM_REPLICAS), plan, Artefact())


def _worker(number: int) -> Instance:
    attributes = {
        "region": "r",
        "zone": f"z{number % 3}",
        "host": f"host-{number}.example",
        "device": "cpu",
        "device.kind": "cpu x86_64 avx512 8 threads",
        "cpu.class": "x86_64-avx512-vnni",
        "cores": "8",
        "threads": "8",
        "memory.bytes": "34359738368",
        "speed.flops": "412345678901.2",
        "speed.bytes": "23456789012.3",
        "speed.call": "0.0000042",
    }
    return Instance(
        f"worker-{number}",
        "worker",
        f"host-{number}.example:50051",
        1_790_000_000_000_000_000,
        ("edge",),
        attributes,
    )
