"""Runs a stage's session: for one request, or for a batch. Blocking; called in the stage's thread."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
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
from services.worker.requests.run_outcome import RunOutcome
from services.worker.requests.stage_request import StageRequest
from services.worker.requests.stage_spec import StageSpec
from services.worker.stages.run_errors import error_for_origin

_log = structlog.get_logger(__name__)


class Runnable(Protocol):
    """A loaded partition; `onnxmesh.graph.runtime.session.StageSession` is one."""

    def run(
        self,
        feeds: Mapping[str, Tensor],
        outputs: Collection[str] | None = None,
        allocator: Allocate | None = None,
        *,
        keep_on_device: bool = False,
    ) -> dict[str, Tensor]:
        """Computes the named outputs, in buffers of the allocator as far as it can. Blocking.

        Args:
            feeds: Inputs by name.
            outputs: Which to compute; None: all.
            allocator: Allocates output buffers; None: the session does.
            keep_on_device: Whether outputs may stay in the device's memory.
        """
        ...

    @property
    def device(self) -> str:
        """The device whose memory outputs may stay in; empty: the host's."""
        ...

    @property
    def feed_allocator(self) -> Allocate | None:
        """Allocates buffers for concatenated inputs; None: any memory will do."""
        ...


_RunSession = Callable[[Mapping[str, Tensor], Collection[str]], dict[str, Tensor]]


def run_requests(
    session: Runnable,
    requests: Sequence[StageRequest],
    spec: StageSpec,
    allocator: Allocate | None = None,
    *,
    keep_on_device: bool = False,
) -> list[RunOutcome]:
    """Runs requests as one batch; where that fails, one by one, so that a faulty one fails alone.

    Args:
        session: The loaded partition.
        requests: Of one group of the stage's batch rule, or a single one.
        spec: The stage.
        allocator: Allocates output buffers that their common next peer can read; None: there is none.
        keep_on_device: Whether all of them go to another stage of this worker next.

    Returns:
        One outcome for each request, in order.
    """
    run = partial(session.run, allocator=allocator, keep_on_device=keep_on_device)
    outcomes = _run_batch(run, session.feed_allocator, requests, spec) if len(requests) > 1 else None
    if outcomes is None:
        outcomes = [_run_alone(run, request, spec) for request in requests]
    if session.device and not keep_on_device:
        for request, outcome in zip(requests, outcomes, strict=True):
            _copy_to_host(request, spec, outcome)
    return outcomes


def _copy_to_host(request: StageRequest, spec: StageSpec, outcome: RunOutcome) -> None:
    """Copies what leaves from the device's memory in this thread: the event loop must not wait for that."""
    if not isinstance(outcome.computed, MeshError):
        for _, tensor in request_flow.iter_outgoing(request, spec, outcome.computed):
            if isinstance(tensor, DeviceTensor):
                tensor.memory.on_host()


def _run_alone(run: _RunSession, request: StageRequest, spec: StageSpec) -> RunOutcome:
    started_ns = perf_counter_ns()
    computed: dict[str, Tensor] | MeshError
    try:
        computed = run(request.tensors, request_flow.outputs_to_compute(request, spec))
    except Exception as error:  # noqa: BLE001 - every exception becomes the request's error
        computed = error_for_origin(error, spec.stage)
    return RunOutcome(computed, perf_counter_ns() - started_ns)


def _run_batch(
    run: _RunSession, feed_allocator: Allocate | None, requests: Sequence[StageRequest], spec: StageSpec
) -> list[RunOutcome] | None:
    """Returns None if the run failed, or an output does not have a row for each input row."""
    rule = spec.batching
    assert rule is not None, "only a batch rule lets requests run together"
    started_ns = perf_counter_ns()
    try:
        feeds = {
            name: requests[0].tensors[name]
            if name in rule.shared
            else concat_rows([request.tensors[name] for request in requests], feed_allocator)
            for name, _ in rule.inputs
        }
        rows = rule.row_counts(requests)
        wanted = [request_flow.outputs_to_compute(request, spec) for request in requests]
        computed = run(feeds, frozenset().union(*wanted))
        split = {
            name: _split_output(tensor, rows, shared=name in rule.shared) for name, tensor in computed.items()
        }
    except Exception as error:  # noqa: BLE001 - each request gets its own error when it runs alone
        _log.info("batch_failed", stage=spec.stage, requests=len(requests), error=str(error)[:200])
        return None
    compute_ns = perf_counter_ns() - started_ns
    return [
        RunOutcome({name: split[name][index] for name in names}, compute_ns, len(requests), sum(rows))
        for index, names in enumerate(wanted)
    ]


def _split_output(tensor: Tensor, rows: Sequence[int], *, shared: bool) -> list[Tensor]:
    if shared:
        return [tensor] * len(rows)
    if not tensor.shape or tensor.shape[0] != sum(rows):
        raise Internal(f"'{tensor.name}' has shape {list(tensor.shape)} where {sum(rows)} rows were expected")
    return split_rows(tensor, rows)
