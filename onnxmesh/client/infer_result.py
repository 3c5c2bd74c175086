"""The result of one inference request."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from onnxmesh.client.trace import RouteTrace

Array = npt.NDArray[np.generic]
"""A tensor of any datatype; BYTES tensors are object arrays of `bytes`."""


@dataclass(frozen=True, slots=True)
class InferResult:
    """The outputs of one inference request.

    Attributes:
        model: Name of the model.
        version: Version of the model, as a decimal string.
        request_id: The id of the request.
        outputs: Arrays by output name, in the model's order; the caller owns them.
        trace: The route of the request, if a trace was requested.
    """

    model: str
    version: str
    request_id: str
    outputs: dict[str, Array]
    trace: RouteTrace | None
