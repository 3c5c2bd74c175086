"""The layer that coalesces small requests of one event-loop iteration into one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial

from onnxmesh.ids import ModelKey
from onnxmesh.routing.table.routed_model import RoutedModel
from services.gateway.batching.request_rows import join_requests, num_rows, split_result
from services.gateway.requests.inference_request import InferenceLayer, InferenceRequest, InferenceResult
from services.gateway.requests.request_options import DEFAULT_OPTIONS

MAX_BYTES = 16 << 10
"""A larger request costs more for its bytes than for being one."""

MAX_COMPUTE_S = 0.0005
"""Most computing of one coalesced request: more is better spread over replicas."""

DECAY = 0.1
"""Share by which a run counts less with each one that follows."""


@dataclass(slots=True)
class _ModelCost:
    """Measured cost of one version of a model.

    Attributes:
        model: As the route table has it.
        max_rows: Most rows that may run together; 0: none may.
        rows: Decayed sum of the rows of runs.
        run_s: Decayed sum of their durations, at all stages together.
    """

    model: RoutedModel
    max_rows: int
    rows: float = 0.0
    run_s: float = 0.0

    def observe(self, result: InferenceResult) -> None:
        hops = result.trace.hops
        if hops:
            self.rows += hops[0].rows - DECAY * self.rows
            self.run_s += (
                sum(hop.compute_ns * hops[0].rows / max(1, hop.rows) for hop in hops) / 1e9
                - DECAY * self.run_s
            )

    @property
    def rows_at_once(self) -> int:
        return min(self.max_rows, int(MAX_COMPUTE_S * self.rows / self.run_s)) if self.run_s else 1


@dataclass(slots=True)
class _Group:
    """Requests that are coalesced."""

    requests: list[InferenceRequest] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    results: list[asyncio.Future[InferenceResult]] = field(default_factory=list)
    num_rows: int = 0

    def add(self, request: InferenceRequest, rows: int) -> asyncio.Future[InferenceResult]:
        result: asyncio.Future[InferenceResult] = asyncio.get_running_loop().create_future()
        self.requests.append(request)
        self.rows.append(rows)
        self.results.append(result)
        self.num_rows += rows
        return result


class RequestCoalescer:
    """Runs like requests that arrive in one event-loop iteration as one; none waits for others to arrive.

    Each request costs the mesh some 100 µs of processor time in itself, however little its model computes: for a small model
    that is most of it. So requests without options whose rows may run together, by the check at deployment, are run as one
    and the result is split. Where that fails each is run alone, so that a bad request fails alone.

    Args:
        layer: The next layer.
    """

    def __init__(self, layer: InferenceLayer) -> None:
        self._layer = layer
        self._costs: dict[ModelKey, _ModelCost] = {}
        self._open: dict[object, _Group] = {}
        self._running: set[asyncio.Task[None]] = set()

    async def infer(self, request: InferenceRequest) -> InferenceResult:
        """Runs one request to its end, alone or coalesced with others.

        Raises:
            MeshError: What the next layer raises for the request alone.
        """
        if request.options is not DEFAULT_OPTIONS:
            return await self._layer.infer(request)
        cost = self._cost_of(request.model)
        rows = num_rows(request.tensors) if cost.max_rows else 0
        most_rows = cost.rows_at_once
        if not 0 < rows < most_rows or request.traceparent or request.num_bytes > MAX_BYTES:
            return await self._infer_alone(request, cost)
        key = (
            id(request.model),
            request.requested_outputs,
            *[tensor.shape[1:] for tensor in request.tensors],
        )
        group = self._open.get(key)
        if group is not None and group.num_rows + rows <= most_rows:
            return await group.add(request, rows)
        return await self._lead(request, rows, cost, key)

    def remove(self, models: Iterable[ModelKey]) -> None:
        """Removes what was measured of models."""
        for model in models:
            self._costs.pop(model, None)

    async def _lead(
        self, request: InferenceRequest, rows: int, cost: _ModelCost, key: object
    ) -> InferenceResult:
        """Runs a request together with the like ones that follow in this event-loop iteration."""
        group = self._open[key] = _Group()
        own = group.add(request, rows)
        try:
            try:
                await asyncio.sleep(0)
            finally:
                if self._open.get(key) is group:
                    del self._open[key]
            if len(group.requests) == 1:
                return await self._infer_alone(request, cost)
            await self._infer_group(group, cost)
        except asyncio.CancelledError:
            own.cancel()
            self._start_each_alone(group)
            raise
        return await own

    def _cost_of(self, model: RoutedModel) -> _ModelCost:
        key = (model.name, model.version)
        cost = self._costs.get(key)
        if cost is None:
            cost = self._costs[key] = _ModelCost(model, _max_rows(model))
        elif cost.model is not model:
            cost.model, cost.max_rows = model, _max_rows(model)
        return cost

    async def _infer_alone(self, request: InferenceRequest, cost: _ModelCost) -> InferenceResult:
        result = await self._layer.infer(request)
        if cost.max_rows:
            cost.observe(result)
        return result

    async def _infer_group(self, group: _Group, cost: _ModelCost) -> None:
        splitting = group.requests[0].model.splitting
        assert splitting is not None
        try:
            result = await self._infer_alone(join_requests(group.requests, group.num_rows), cost)
            results = split_result(result, group.rows, splitting.shared)
        except Exception:  # noqa: BLE001 - each request is run alone, and raises its own error
            results = None
        if results is None:
            self._start_each_alone(group)
            return
        for waiting, own in zip(group.results, results, strict=True):
            if not waiting.done():
                waiting.set_result(own)

    def _start_each_alone(self, group: _Group) -> None:
        """Starts each request that still waits by itself."""
        for request, waiting in zip(group.requests, group.results, strict=True):
            if not waiting.done():
                task = asyncio.get_running_loop().create_task(self._run_alone(request, waiting))
                self._running.add(task)
                task.add_done_callback(self._running.discard)
                waiting.add_done_callback(partial(_cancel, task))

    async def _run_alone(self, request: InferenceRequest, waiting: asyncio.Future[InferenceResult]) -> None:
        try:
            result = await self._layer.infer(request)
        except Exception as error:  # noqa: BLE001 - raised where the request waits
            if not waiting.done():
                waiting.set_exception(error)
        else:
            if not waiting.done():
                waiting.set_result(result)
        finally:
            waiting.cancel()


def _cancel(task: asyncio.Task[None], _: object) -> None:
    task.cancel()


def _max_rows(model: RoutedModel) -> int:
    """Returns the most rows that may run together on every route of a model; 0: none may."""
    rule = model.splitting
    if rule is None:
        return 0
    most = min(rule.max_rows, rule.max_batch_rows)
    return most if all(rule.allows(most, stage.replicas) for stage in model.stages) else 0
