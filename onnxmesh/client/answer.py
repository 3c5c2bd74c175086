"""What a mesh answers to one request."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from onnxmesh.client.trace import RouteTrace

Array = npt.NDArray[np.generic]
"""A tensor of any type; BYTES tensors are object arrays of `bytes`."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The outputs of one inference.

    Attributes:
        model: Name of the model that answered.
        version: Its version, as a decimal string.
        request_id: The id of the request, echoed.
        outputs: By name, in the model's order; the caller owns them.
        trace: The route that the request took, if it was asked for.
    """

    model: str
    version: str
    request_id: str
    outputs: dict[str, Array]
    trace: RouteTrace | None
