"""Requests with several rows: whole, or in micro-batches where that is faster."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from onnxmesh.deadline import Clock
from onnxmesh.routing.balancer import Route
from onnxmesh.routing.table.routed_model import RoutedModel
from services.gateway.batching.split_requests import join_outputs, split_request
from services.gateway.requests.attempts import AttemptFailure
from services.gateway.requests.inference_request import InferenceRequest, InferenceResult
from services.gateway.requests.trace import Trace
from services.gateway.routes.router import Router

PIECES_PER_STAGE = 2
"""Micro-batches of one request that are under way at once, for each stage: one runs, one comes."""

Picked = tuple[RoutedModel, Route]
"""A route, and the model as it was when that was picked."""

Run = Callable[[InferenceRequest, list[AttemptFailure], float, Picked], Coroutine[Any, Any, InferenceResult]]
"""Gets an order answered that began at a time: on the route that was picked, if need be on others; notes its failures."""


class MicroBatchRunner:
    """Runs requests of models that may be cut, and learns from them. Belongs to one event loop.

    Args:
        router: Picks routes, and has what is learned.
        run: Runs a request, or a micro-batch of one, to its end.
        number: Returns a number that no other request of this gateway has.
        clock: Seconds, monotonic.
    """

    def __init__(self, router: Router, run: Run, number: Callable[[], int], clock: Clock) -> None:
        self._router = router
        self._run = run
        self._number = number
        self._clock = clock

    async def infer(
        self, order: InferenceRequest, rows: int, failures: list[AttemptFailure], began: float
    ) -> InferenceResult:
        """Runs a request of so many rows.

        Args:
            order: The request.
            rows: How many it has.
            failures: What it meets with is added.
            began: When it came.

        Raises:
            MeshError: See `Router.route`; what the request, or the first of its micro-batches that failed for good, came to.
        """
        batcher = self._router.micro_batcher
        stay = await self._router.sessions.places(order.model, order.session)
        model, route = picked = await self._router.route(order, set(), failures, stay)
        pieces = batcher.pieces(rows, model, route)
        set_out = self._clock()
        if len(pieces) > 1:
            answers = await self._infer_pieces(split_request(order, pieces, self._number()), picked, began)
            for count, answer in zip(pieces, answers, strict=True):
                batcher.learn(count, answer.trace.hops)
            shared = frozenset[str]() if model.splitting is None else model.splitting.shared
            tensors = join_outputs([answer.tensors for answer in answers], pieces, shared)
            if tensors is not None:
                now_s = self._clock()
                batcher.took(rows, model, now_s - set_out, len(pieces))
                return InferenceResult(
                    tensors, Trace.of_pieces(now_s - began, [answer.trace for answer in answers])
                )
        answer = await self._run(order, failures, began, picked)
        batcher.learn(rows, answer.trace.hops)
        # Where pieces came to nothing, the time that they took speaks against cutting.
        batcher.took(rows, model, self._clock() - set_out, len(pieces))
        return answer

    async def _infer_pieces(
        self, pieces: Sequence[InferenceRequest], picked: Picked, began: float
    ) -> list[InferenceResult]:
        """Runs micro-batches one behind the other on one route; what becomes of one that fails is its own matter.

        So many are under way as keep each stage at work: others, who come to a stage in the meantime, go in between.
        """
        window = asyncio.Semaphore(PIECES_PER_STAGE * len(picked[1]))

        async def infer(piece: InferenceRequest) -> InferenceResult:
            try:
                return await self._run(piece, [], began, picked)
            finally:
                window.release()

        try:
            async with asyncio.TaskGroup() as group:
                tasks = []
                for piece in pieces:
                    await window.acquire()
                    tasks.append(group.create_task(infer(piece)))
        except ExceptionGroup as failed:
            # The first ended the others.
            raise failed.exceptions[0] from None
        return [task.result() for task in tasks]
