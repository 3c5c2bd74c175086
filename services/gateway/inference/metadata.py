"""Metadata of models as the Open Inference Protocol describes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from onnxmesh.oip.open_inference_pb2 import ModelMetadataResponse
from onnxmesh.routing.table.routed_model import RoutedModel, RoutedTensor

PLATFORM = "onnxruntime_onnx"
"""The platform name of ONNX models that run under ONNX Runtime."""


def model_metadata(model: RoutedModel, versions: Sequence[RoutedModel]) -> ModelMetadataResponse:
    """Returns the metadata of `model`, one of the `versions` of its name."""
    return ModelMetadataResponse(
        name=model.name,
        versions=[str(version) for version in sorted(each.version for each in versions)],
        platform=PLATFORM,
        inputs=_tensors(model.inputs),
        outputs=_tensors(model.outputs),
        properties={"version": str(model.version), "stages": str(len(model.stages))},
    )


def _tensors(tensors: Iterable[RoutedTensor]) -> list[ModelMetadataResponse.TensorMetadata]:
    return [
        ModelMetadataResponse.TensorMetadata(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        for tensor in tensors
    ]
