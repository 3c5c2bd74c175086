"""A first run on zeros, so that the first request does not pay for what a session does once."""

from __future__ import annotations

import math
from collections.abc import Iterable

import structlog

from onnxmesh.ids import StageKey
from onnxmesh.model.tensor_spec import TensorSpec
from onnxmesh.tensors.datatype import Datatype
from onnxmesh.tensors.tensor import Tensor
from services.worker.stages.stage_run import Runnable

_BYTES_OF_EMPTY_STRING = 4

_log = structlog.get_logger(__name__)


def zeros(specs: Iterable[TensorSpec]) -> dict[str, Tensor]:
    """Returns a tensor of zeros (or empty strings) for each spec; what may vary is 1, or a scalar."""
    tensors = {}
    for spec in specs:
        datatype = Datatype(spec.datatype)
        shape = tuple(1 if dim < 0 else dim for dim in spec.shape or ())
        num_elements = math.prod(shape)
        size = datatype.byte_size(num_elements)
        data = bytes(num_elements * _BYTES_OF_EMPTY_STRING if size is None else size)
        tensors[spec.name] = Tensor(spec.name, datatype, shape, data)
    return tensors


def warm_up(stage: StageKey, session: Runnable, inputs: Iterable[TensorSpec]) -> None:
    """Runs a stage once. That it fails on zeros says nothing about requests: it is only logged."""
    try:
        session.run(zeros(inputs))
    except Exception as error:  # noqa: BLE001 - a model may refuse zeros in any way
        _log.info("warm_up_failed", stage=stage, error=str(error))
