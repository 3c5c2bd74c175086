"""The layer that runs requests with many rows in micro-batches, where that is faster."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from time import monotonic
from typing import Any

from onnxmesh.deadline import Clock
from onnxmesh.routing.table.table_difference import TableDifference
from services.gateway.batching.micro_batcher import MicroBatcher
from services.gateway.batching.request_rows import join_outputs, num_rows, split_request
from services.gateway.dispatch.dispatcher import Dispatcher
from services.gateway.requests.inference_request import InferenceRequest, InferenceResult
from services.gateway.requests.trace import Trace
from services.gateway.routes.router import PickedRoute, Router

IN_FLIGHT_PER_STAGE = 2
"""Micro-batches of one request in flight for each stage: one runs while the next one arrives."""


class MicroBatchRunner:
    """Splits requests of models whose rows are independent, and learns from their durations.

    Requests with one row, and those of models with one stage, go on to the dispatcher as they are. Belongs to one event loop.

    Args:
        dispatcher: The next layer; runs micro-batches on the route that was picked for the whole request.
        router: Picks that route.
        batcher: Decides on the number of micro-batches.
        clock: Seconds, monotonic.
    """

    def __init__(
        self, dispatcher: Dispatcher, router: Router, batcher: MicroBatcher, *, clock: Clock = monotonic
    ) -> None:
        self._dispatcher = dispatcher
        self._router = router
        self._batcher = batcher
        self._clock = clock

    def infer(self, request: InferenceRequest) -> Coroutine[Any, Any, InferenceResult]:
        """Runs one request to its end, whole or in micro-batches.

        No coroutine of its own, for most requests only pass through.

        Raises:
            MeshError: What the request, or the first of its micro-batches that failed for good, failed with: see
                `Router.route` and `Dispatcher.infer`.
        """
        model = request.model
        if model.splitting is not None and len(model.stages) > 1:
            rows = num_rows(request.tensors)
            if rows > 1:
                return self._infer_rows(request, rows)
        return self._dispatcher.infer(request)

    def update(self, changes: TableDifference) -> None:
        """Removes what was learned of stages and workers that the route table no longer has."""
        self._batcher.remove(changes.removed_stages, changes.removed_workers)

    async def _infer_rows(self, request: InferenceRequest, rows: int) -> InferenceResult:
        began_s = self._clock()
        session_workers = await self._router.sessions.workers(request.model, request.options.session)
        picked = await self._router.route(request, set(), session_workers)
        model, route = picked
        sizes = self._batcher.plan(rows, model, route)
        sent_s = self._clock()
        if len(sizes) > 1:
            micro_batches = split_request(request, sizes, self._dispatcher.next_number())
            results = await self._infer_micro_batches(micro_batches, picked)
            for size, result in zip(sizes, results, strict=True):
                self._batcher.observe_timings(size, result.trace.hops)
            shared = frozenset[str]() if model.splitting is None else model.splitting.shared
            outputs = join_outputs([result.tensors for result in results], sizes, shared)
            if outputs is not None:
                now_s = self._clock()
                self._batcher.observe_duration(rows, model, now_s - sent_s, len(sizes))
                return InferenceResult(
                    outputs, Trace.merged(now_s - began_s, [result.trace for result in results])
                )
        result = await self._dispatcher.infer(request, picked)
        self._batcher.observe_timings(rows, result.trace.hops)
        now_s = self._clock()
        # Where the outputs could not be joined, the time that the micro-batches took counts against splitting.
        self._batcher.observe_duration(rows, model, now_s - sent_s, len(sizes))
        return InferenceResult(result.tensors, replace(result.trace, total_us=(now_s - began_s) * 1e6))

    async def _infer_micro_batches(
        self, micro_batches: Sequence[InferenceRequest], picked: PickedRoute
    ) -> list[InferenceResult]:
        """Runs micro-batches one after another on one route; each that fails is retried for itself.

        As many are in flight as keep each stage busy, so that other requests run in between.
        """
        window = asyncio.Semaphore(IN_FLIGHT_PER_STAGE * len(picked[1]))

        async def infer(micro_batch: InferenceRequest) -> InferenceResult:
            try:
                return await self._dispatcher.infer(micro_batch, picked)
            finally:
                window.release()

        try:
            async with asyncio.TaskGroup() as group:
                tasks = []
                for micro_batch in micro_batches:
                    await window.acquire()
                    tasks.append(group.create_task(infer(micro_batch)))
        except ExceptionGroup as failed:
            # The first failure has cancelled the others.
            raise failed.exceptions[0] from None
        return [task.result() for task in tasks]
