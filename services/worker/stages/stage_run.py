"""Runs of a stage's model: of one request, or of several together. Blocks; for the stage's thread."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from time import perf_counter_ns
from typing import Protocol

import structlog

from onnxmesh.errors import Internal, MeshError
from onnxmesh.tensors.allocation import Allocate
from onnxmesh.tensors.device_tensor import DeviceTensor
from onnxmesh.tensors.rows import concat_rows, split_rows
from onnxmesh.tensors.tensor import Tensor
from services.worker.requests import request_flow
from services.worker.requests.run_errors import told_to_origin
from services.worker.requests.stage_part import StagePart
from services.worker.requests.stage_request import StageRequest

_log = structlog.get_logger(__name__)


class Runnable(Protocol):
    """A loaded model; `onnxmesh.graph.runtime.session.StageSession` is one."""

    def run(
        self,
        feeds: Mapping[str, Tensor],
        outputs: Collection[str] | None = None,
        allocator: Allocate | None = None,
        *,
        keep_on_device: bool = False,
    ) -> dict[str, Tensor]:
        """Computes the named outputs, in rooms as far as it can; blocks, and is called in a thread."""
        ...

    @property
    def device(self) -> str:
        """Whose memory outputs may stay in; empty: the host's is all there is."""
        ...

    @property
    def feed_allocator(self) -> Allocate | None:
        """Finds room where inputs had better be put together; None: any place is as good."""
        ...


Run = Callable[[Mapping[str, Tensor], Collection[str]], dict[str, Tensor]]


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """What became of one request.

    Attributes:
        computed: Its outputs, or why there are none. Errors are values here, for the traceback of a raised one keeps
            tensors alive.
        compute_ns: How long the run took, which it may have shared.
        batch: With how many requests it shared it, itself included.
        rows: Of all of them; 0 where it shared it with none.
    """

    computed: dict[str, Tensor] | MeshError
    compute_ns: int
    batch: int = 1
    rows: int = 0


def run_requests(
    session: Runnable,
    requests: Sequence[StageRequest],
    part: StagePart,
    allocator: Allocate | None = None,
    *,
    keep_on_device: bool = False,
) -> list[RunOutcome]:
    """Runs requests, together if they are several; where that fails, each alone, so that a bad one fails alone.

    Args:
        session: The model.
        requests: Of one group of the stage's rule, or a single one.
        part: The stage.
        allocator: Finds room where all of them go next; None: they go several ways, or there is none.
        keep_on_device: Whether all of them go to another stage of this worker next.

    Returns:
        One for each request, in order.
    """
    run = partial(session.run, allocator=allocator, keep_on_device=keep_on_device)
    outcomes = _together(run, session.feed_allocator, requests, part) if len(requests) > 1 else None
    if outcomes is None:
        outcomes = [_alone(run, request, part) for request in requests]
    if session.device and not keep_on_device:
        for request, outcome in zip(requests, outcomes, strict=True):
            _fetch(request, part, outcome)
    return outcomes


def _fetch(request: StageRequest, part: StagePart, outcome: RunOutcome) -> None:
    """Has what leaves a device's memory copied here: who sends it must not wait for that."""
    if not isinstance(outcome.computed, MeshError):
        for _, tensor in request_flow.leaving(request, part, outcome.computed):
            if isinstance(tensor, DeviceTensor):
                tensor.memory.on_host()


def _alone(run: Run, request: StageRequest, part: StagePart) -> RunOutcome:
    started_ns = perf_counter_ns()
    computed: dict[str, Tensor] | MeshError
    try:
        computed = run(request.tensors, request_flow.to_compute(request, part))
    except Exception as error:  # noqa: BLE001 - whatever it is, its origin is told
        computed = told_to_origin(error, part.stage)
    return RunOutcome(computed, perf_counter_ns() - started_ns)


def _together(
    run: Run, feed_allocator: Allocate | None, requests: Sequence[StageRequest], part: StagePart
) -> list[RunOutcome] | None:
    """Returns None if the run failed, or did not answer with a row for each row."""
    rule = part.batching
    assert rule is not None, "requests run together by a rule"
    started_ns = perf_counter_ns()
    try:
        feeds = {
            name: requests[0].tensors[name]
            if name in rule.shared
            else concat_rows([request.tensors[name] for request in requests], feed_allocator)
            for name, _ in rule.inputs
        }
        rows = rule.rows_of(requests)
        wanted = [request_flow.to_compute(request, part) for request in requests]
        computed = run(feeds, frozenset().union(*wanted))
        pieces = {name: _pieces(computed[name], rows, shared=name in rule.shared) for name in computed}
    except Exception as error:  # noqa: BLE001 - each request is told what becomes of it alone
        _log.info("batch_failed", stage=part.stage, requests=len(requests), error=str(error)[:200])
        return None
    compute_ns = perf_counter_ns() - started_ns
    return [
        RunOutcome({name: pieces[name][number] for name in names}, compute_ns, len(requests), sum(rows))
        for number, names in enumerate(wanted)
    ]


def _pieces(tensor: Tensor, rows: Sequence[int], *, shared: bool) -> list[Tensor]:
    if shared:
        return [tensor] * len(rows)
    if not tensor.shape or tensor.shape[0] != sum(rows):
        raise Internal(f"'{tensor.name}' has shape {list(tensor.shape)} where {sum(rows)} rows were expected")
    return split_rows(tensor, rows)
