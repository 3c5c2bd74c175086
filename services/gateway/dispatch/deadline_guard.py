"""The layer that ends a request at its deadline."""

from __future__ import annotations

import asyncio
from time import monotonic

from onnxmesh.deadline import Clock
from onnxmesh.errors import DeadlineExceeded
from services.gateway.requests.final_error import after
from services.gateway.requests.inference_request import InferenceLayer, InferenceRequest, InferenceResult


class DeadlineGuard:
    """Cancels a request in the layers below at its deadline; one whose deadline has passed is not run.

    Args:
        layer: The next layer.
        clock: Seconds, monotonic.
    """

    def __init__(self, layer: InferenceLayer, *, clock: Clock = monotonic) -> None:
        self._layer = layer
        self._clock = clock

    async def infer(self, request: InferenceRequest) -> InferenceResult:
        """Runs one request to its end, or to its deadline.

        Raises:
            DeadlineExceeded: The deadline passed first (DEADLINE_EXCEEDED).
            MeshError: What the next layer raises.
        """
        remaining_s = request.deadline.remaining_s(self._clock)
        try:
            if remaining_s <= 0:
                raise TimeoutError
            async with asyncio.timeout(remaining_s):
                return await self._layer.infer(request)
        except TimeoutError:
            raise DeadlineExceeded(
                f"{request.model}: the deadline passed before the answer{after(request.failures)}"
            ) from None
