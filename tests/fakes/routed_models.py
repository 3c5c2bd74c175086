"""Models of route tables, short to write."""

from __future__ import annotations

from onnxmesh.v1 import mesh_pb2, model_pb2

Spec = tuple[str, str, list[int]]
Worker = tuple[str, str]
"""Id and address."""


def routed_model(
    stages: list[list[Worker]],
    *,
    name: str = "m",
    version: int = 1,
    inputs: tuple[Spec, ...] = (("x", "FP32", [-1, 4]),),
    outputs: tuple[Spec, ...] = (("y", "FP32", [-1, 4]),),
    generation: int = 1,
    direct: dict[int, tuple[str, ...]] | None = None,
    percent: int | None = None,
) -> mesh_pb2.RoutedModel:
    """Returns a model whose stages have replicas on the workers listed for each; `direct` gives inputs to stages, `percent` traffic."""
    return mesh_pb2.RoutedModel(
        name=name,
        version=version,
        traffic_percent=percent,
        signature=model_pb2.Signature(inputs=_specs(inputs), outputs=_specs(outputs)),
        stages=[
            mesh_pb2.RoutedStage(
                stage=f"{name}/{version}/{index}",
                replicas=[
                    mesh_pb2.RoutedReplica(worker=worker, address=address, generation=generation)
                    for worker, address in workers
                ],
                direct_inputs=(direct or {}).get(index, ()),
            )
            for index, workers in enumerate(stages)
        ],
    )


def _specs(specs: tuple[Spec, ...]) -> list[model_pb2.TensorSpec]:
    return [
        model_pb2.TensorSpec(name=name, datatype=datatype, shape=shape) for name, datatype, shape in specs
    ]
