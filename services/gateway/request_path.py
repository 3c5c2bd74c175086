"""The request path: the layers that an inference request passes, from the outermost to the innermost."""

from __future__ import annotations

from time import monotonic

from onnxmesh.deadline import Clock
from onnxmesh.routing.table.table import RoutingTable
from onnxmesh.routing.table.table_difference import TableDifference
from services.gateway.batching.micro_batch_runner import MicroBatchRunner
from services.gateway.batching.micro_batcher import MicroBatcher
from services.gateway.batching.request_coalescer import RequestCoalescer
from services.gateway.dispatch.deadline_guard import DeadlineGuard
from services.gateway.dispatch.dispatcher import Dispatcher
from services.gateway.requests.inference_request import InferenceLayer
from services.gateway.routes.router import Router


class RequestPath:
    """Composes the layers of `infer(request) -> result`: coalesce, deadline, split, dispatch.

    The deadline guard is below the coalescer, so that one timer serves all requests of a group: a coalesced request has the
    earliest deadline of its group, and where that passes, the others are run alone.

    Attributes:
        dispatcher: Tries routes, and handles the frames of workers.
        alone: The path of a request that no other is in flight with: it cannot be coalesced.
        entry: The path of every other request.

    Args:
        dispatcher: The innermost layer.
        router: Picks the routes of micro-batches.
        split: Whether requests with many rows are split into micro-batches where that is faster.
        coalesce: Whether small requests are coalesced.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        router: Router,
        *,
        split: bool,
        coalesce: bool,
        clock: Clock = monotonic,
    ) -> None:
        self.dispatcher = dispatcher
        batcher = MicroBatcher(router.home, router.balancer.network)
        self._splitter = MicroBatchRunner(dispatcher, router, batcher, clock=clock) if split else None
        self.alone: InferenceLayer = DeadlineGuard(self._splitter or dispatcher, clock=clock)
        self._coalescer = RequestCoalescer(self.alone) if coalesce else None
        self.entry: InferenceLayer = self._coalescer or self.alone

    def update(self, table: RoutingTable, changes: TableDifference) -> None:
        """Applies a new route table to every layer.

        Args:
            table: The table in force from now on.
            changes: Its difference from the previous one.
        """
        self.dispatcher.update(table, changes)
        if self._splitter is not None:
            self._splitter.update(changes)
        if self._coalescer is not None:
            self._coalescer.remove(changes.removed_models)
