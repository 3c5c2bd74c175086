"""Messages of the WorkerControl service: requests to job options, results to responses."""

from __future__ import annotations

from enum import StrEnum
from typing import TypeVar

from onnxmesh.errors import InvalidRequest
from onnxmesh.graph.build_jobs import CutOptions, PrepareOptions
from onnxmesh.model import activation_errors, batching, tensor_spec
from onnxmesh.model.batching import BatchingSpec, BatchMode
from onnxmesh.model.cut_mode import CutMode
from onnxmesh.model.input_shapes import InputShapes
from onnxmesh.model.optimisation_level import OptimisationLevel
from onnxmesh.v1.model_pb2 import (
    ActivationError,
    ActivationErrors,
    Partition,
    Shapes,
    Signature,
    StageBatching,
    TensorSpec,
)
from onnxmesh.v1.worker_pb2 import CutRequest, CutResponse, PrepareRequest, PrepareResponse
from services.worker.models.preparations import CutModel, CutPartition, PreparedModel

E = TypeVar("E", bound=StrEnum)


def prepare_options(request: PrepareRequest) -> PrepareOptions:
    """Returns the options of a Prepare request.

    Raises:
        InvalidRequest: The optimisation level, the mode or a shape is invalid (INVALID_ARGUMENT).
    """
    return PrepareOptions(
        optimisation=_member(OptimisationLevel, request.optimisation, "an optimisation"),
        mode=_member(CutMode, request.mode or CutMode.EXACT, "a mode"),
        shapes=_input_shapes(request.shapes),
        profile_s=request.profile_s,
    )


def prepare_response(prepared: PreparedModel) -> PrepareResponse:
    """Returns the response to a Prepare request."""
    signature = Signature(
        inputs=map(_tensor_spec, prepared.signature.inputs),
        outputs=map(_tensor_spec, prepared.signature.outputs),
    )
    return PrepareResponse(
        prepared=prepared.name,
        signature=signature,
        costs=prepared.costs.encode(),
        profile=prepared.profile.encode(),
        require=prepared.require,
    )


def cut_options(request: CutRequest) -> CutOptions:
    """Returns the options of a Cut request.

    Raises:
        InvalidRequest: The batching mode is invalid (INVALID_ARGUMENT).
    """
    spec = None
    if request.HasField("batching"):
        spec = BatchingSpec(_member(BatchMode, request.batching.mode, "batching"), request.batching.max_rows)
    return CutOptions(
        cuts=tuple(request.cuts),
        direct_inputs=tuple(tuple(inputs.names) for inputs in request.direct),
        batching=spec,
        activation_errors=request.measure_activation_errors,
    )


def cut_response(model: CutModel) -> CutResponse:
    """Returns the response to a Cut request."""
    return CutResponse(
        partitions=map(_partition, model.partitions),
        largest_difference=model.largest_difference,
        activation_errors=_activation_errors(model.activation_errors),
    )


def _member(values: type[E], text: str, what: str) -> E:
    if text not in set(values):
        raise InvalidRequest(f"expected {what} of {', '.join(values)}; got '{text[:40]}'")
    return values(text)


def _input_shapes(shapes: Shapes) -> InputShapes:
    inputs = {name: tuple(shape.dims) for name, shape in shapes.inputs.items()}
    return InputShapes(shapes.batch or 1, inputs)


def _partition(cut: CutPartition) -> Partition:
    partition = cut.partition
    return Partition(
        index=partition.index,
        artefact=cut.artefact,
        inputs=map(_tensor_spec, partition.inputs),
        outputs=map(_tensor_spec, partition.outputs),
        live_out=partition.live_out,
        num_nodes=partition.num_nodes,
        weight_bytes=partition.weight_bytes,
        direct_inputs=partition.direct_inputs,
        batching=_stage_batching(cut.batching),
    )


def _stage_batching(found: batching.StageBatching | None) -> StageBatching | None:
    if found is None:
        return None
    return StageBatching(
        max_rows=found.max_rows,
        shared=found.shared,
        largest_difference=found.largest_difference,
        cpu_class=found.cpu_class,
        why_not=found.why_not,
        max_split_rows=found.max_split_rows,
        not_proven=found.not_proven,
    )


def _activation_errors(found: activation_errors.ActivationErrors | None) -> ActivationErrors | None:
    if found is None:
        return None
    measured = [ActivationError(encoding=encoding, largest_error=error) for encoding, error in found.measured]
    return ActivationErrors(measured=measured, why_not=found.why_not)


def _tensor_spec(spec: tensor_spec.TensorSpec) -> TensorSpec:
    return TensorSpec(name=spec.name, datatype=spec.datatype, shape=spec.shape or ())
