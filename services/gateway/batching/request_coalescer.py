"""Small requests that come together and go on together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from onnxmesh.routing.table.routed_model import RoutedModel
from onnxmesh.tensors.rows import split_rows
from onnxmesh.tensors.tensor import Tensor
from services.gateway.batching.split_requests import rows_of
from services.gateway.requests.inference_request import InferenceRequest, InferenceResult

MAX_BYTES = 16 << 10
"""A larger request costs more for its bytes than for being one."""

LIGHT_S = 0.0005
"""Requests are gathered up to so much computing: more is better spread over replicas."""

FADING = 0.1
"""How much less a run counts with each that follows."""

Infer = Callable[[InferenceRequest], Awaitable[InferenceResult]]


@dataclass(slots=True)
class _Known:
    """What is known of one version of a model.

    Attributes:
        model: As the route table has it.
        max_rows: Most rows that may be together; 0: none may.
        rows: Of the last runs, the older the less they count.
        run_s: What these took, at all stages together.
    """

    model: RoutedModel
    max_rows: int
    rows: float = 0.0
    run_s: float = 0.0

    def learn(self, answer: InferenceResult) -> None:
        hops = answer.trace.hops
        if hops:
            self.rows += hops[0].rows - FADING * self.rows
            self.run_s += (
                sum(hop.compute_ns * hops[0].rows / max(1, hop.rows) for hop in hops) / 1e9
                - FADING * self.run_s
            )

    @property
    def rows_at_once(self) -> int:
        return min(self.max_rows, int(LIGHT_S * self.rows / self.run_s)) if self.run_s else 1


@dataclass(slots=True)
class _Group:
    """Requests that leave together."""

    orders: list[InferenceRequest] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    answers: list[asyncio.Future[InferenceResult]] = field(default_factory=list)
    num_rows: int = 0

    def add(self, order: InferenceRequest, rows: int) -> asyncio.Future[InferenceResult]:
        answer: asyncio.Future[InferenceResult] = asyncio.get_running_loop().create_future()
        self.orders.append(order)
        self.rows.append(rows)
        self.answers.append(answer)
        self.num_rows += rows
        return answer


class RequestCoalescer:
    """Sends requests on as one that came in one turn of the event loop; none waits for others to come.

    Each costs the mesh some 100 µs of processor time for itself, however little its model computes: in a small model's
    request that is most of it. So those that may run together by the deploy's check leave together, answers are taken
    apart, and where something goes wrong each is run alone, so that a bad one fails alone.

    Args:
        infer: Runs one request to its end.
        enabled: Whether any are gathered.
    """

    def __init__(self, infer: Infer, *, enabled: bool = True) -> None:
        self._infer = infer
        self._enabled = enabled
        self._known: dict[tuple[str, int], _Known] = {}
        self._open: dict[object, _Group] = {}
        self._running: set[asyncio.Task[None]] = set()

    async def infer(self, order: InferenceRequest) -> InferenceResult:
        """Runs one request to its end.

        Raises:
            MeshError: What running it alone raises.
        """
        known = self._of(order.model)
        rows = rows_of(order.tensors) if known.max_rows else 0
        most_rows = known.rows_at_once
        if not 0 < rows < most_rows or order.traceparent or order.num_bytes > MAX_BYTES:
            return await self._alone(order, known)
        like = (id(order.model), order.requested_outputs, *[tensor.shape[1:] for tensor in order.tensors])
        group = self._open.get(like)
        if group is not None and group.num_rows + rows <= most_rows:
            return await group.add(order, rows)
        return await self._lead(order, rows, known, like)

    async def _lead(self, order: InferenceRequest, rows: int, known: _Known, like: object) -> InferenceResult:
        """Runs a request together with those that come in this turn of the loop, too."""
        group = self._open[like] = _Group()
        own = group.add(order, rows)
        try:
            try:
                await asyncio.sleep(0)
            finally:
                if self._open.get(like) is group:
                    del self._open[like]
            if len(group.orders) == 1:
                return await self._alone(order, known)
            await self._run(group, known)
        except asyncio.CancelledError:
            own.cancel()
            self._run_each_aside(group)
            raise
        return await own

    def forget(self, models: Iterable[tuple[str, int]]) -> None:
        """Forgets models that are gone."""
        for key in models:
            self._known.pop(key, None)

    def _of(self, model: RoutedModel) -> _Known:
        key = (model.name, model.version)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = _Known(model, self._max_rows(model))
        elif known.model is not model:
            known.model, known.max_rows = model, self._max_rows(model)
        return known

    def _max_rows(self, model: RoutedModel) -> int:
        return _max_rows(model) if self._enabled else 0

    async def _alone(self, order: InferenceRequest, known: _Known) -> InferenceResult:
        answer = await self._infer(order)
        if known.max_rows:
            known.learn(answer)
        return answer

    async def _run(self, group: _Group, known: _Known) -> None:
        try:
            answer = await self._alone(_together(group.orders, group.num_rows), known)
            apart = _apart(answer, group.rows, group.num_rows, group.orders[0].model)
        except Exception:  # noqa: BLE001 - each is told what becomes of it alone
            apart = None
        if apart is None:
            self._run_each_aside(group)
            return
        for waiting, part in zip(group.answers, apart, strict=True):
            if not waiting.done():
                waiting.set_result(part)

    def _run_each_aside(self, group: _Group) -> None:
        """Has each of those who still wait run alone."""
        for order, waiting in zip(group.orders, group.answers, strict=True):
            if not waiting.done():
                task = asyncio.get_running_loop().create_task(self._retry(order, waiting))
                self._running.add(task)
                task.add_done_callback(self._running.discard)
                waiting.add_done_callback(partial(_cancel, task))

    async def _retry(self, order: InferenceRequest, waiting: asyncio.Future[InferenceResult]) -> None:
        try:
            answer = await self._infer(order)
        except Exception as error:  # noqa: BLE001 - whoever waits is told
            if not waiting.done():
                waiting.set_exception(error)
        else:
            if not waiting.done():
                waiting.set_result(answer)
        finally:
            waiting.cancel()


def _cancel(task: asyncio.Task[None], _: object) -> None:
    task.cancel()


def _max_rows(model: RoutedModel) -> int:
    """Returns how many rows may be together whatever route they take."""
    rule = model.splitting
    if rule is None:
        return 0
    most = min(rule.max_rows, rule.max_batch_rows)
    return most if all(rule.allows(most, stage.replicas) for stage in model.stages) else 0


def _together(orders: Sequence[InferenceRequest], rows: int) -> InferenceRequest:
    tensors = tuple(
        Tensor(
            parts[0].name,
            parts[0].datatype,
            (rows, *parts[0].shape[1:]),
            b"".join([part.data for part in parts]),
        )
        for parts in zip(*(order.tensors for order in orders), strict=True)
    )
    return replace(
        orders[0],
        tensors=tensors,
        deadline=min((order.deadline for order in orders), key=lambda deadline: deadline.at_s),
    )


def _apart(
    answer: InferenceResult, rows: Sequence[int], num_rows: int, model: RoutedModel
) -> list[InferenceResult] | None:
    """Returns the answer to each; None where there is not a row for each row."""
    assert model.splitting is not None
    columns: list[Sequence[Tensor]] = []
    for tensor in answer.tensors:
        if tensor.name in model.splitting.shared:
            columns.append([tensor] * len(rows))
        elif tensor.shape[:1] == (num_rows,):
            columns.append(split_rows(tensor, rows))
        else:
            return None
    return [InferenceResult(tensors, answer.trace) for tensors in zip(*columns, strict=True)]
