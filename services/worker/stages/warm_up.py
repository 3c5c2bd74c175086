"""Warm-up of a session: a run on zeros, so that the first request does not pay for one-time work."""

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
    """Returns a tensor of zeros (BYTES: empty strings) for each spec; free dimensions are 1, an unknown shape is a scalar."""
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
    """Runs a stage once; a failure is logged only, since a model may reject zeros and accept requests."""
    try:
        session.run(zeros(inputs))
    except Exception as error:  # noqa: BLE001 - a model may reject zeros with any exception
        _log.info("warm_up_failed", stage=stage, error=str(error))
