"""Admission, cancellation and expiry of a request, and its output tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from onnxmesh.errors import Cancelled, DeadlineExceeded, InvalidRequest, MeshError, StageNotHeld, Unavailable
from onnxmesh.ids import StageKey, WorkerId
from onnxmesh.tensors.tensor import Tensor
from services.worker.requests.stage_phase import StagePhase
from services.worker.requests.stage_request import StageRequest
from services.worker.requests.stage_spec import StageSpec


@dataclass(frozen=True, slots=True)
class Proceed:
    """The request goes on."""


@dataclass(frozen=True, slots=True)
class Drop:
    """The request ends here without an answer: its gateway does not wait for one."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """The request ends here with a Failure.

    Attributes:
        error: What the origin gateway receives.
    """

    error: MeshError


Decision = Proceed | Drop | Refuse


def check_wanted(request: StageRequest, *, cancelled: bool, now_s: float) -> Decision:
    """Decides whether a request is still worth work: evaluated before it runs and before it is sent on."""
    if cancelled:
        return Drop()
    if request.deadline.at_s <= now_s:
        return Refuse(DeadlineExceeded(f"the deadline passed before {request.stage} was done"))
    return Proceed()


def admit(
    request: StageRequest,
    worker: WorkerId,
    phase: StagePhase | None,
    *,
    draining: bool,
    cancelled: bool,
    now_s: float,
) -> Decision:
    """Decides whether a request that just arrived may queue for its stage.

    A draining worker refuses requests at their first hop, which cost nothing to try elsewhere; those that earlier
    stages have worked on are finished here.

    Args:
        request: The request.
        worker: This worker.
        phase: Of the stage that it is for; None if that is not held.
        draining: Whether this worker is about to stop.
        cancelled: Whether its gateway cancelled it.
        now_s: This process's monotonic clock.
    """
    decision = check_wanted(request, cancelled=cancelled, now_s=now_s)
    if not isinstance(decision, Proceed):
        return decision
    if request.hop.worker != worker:
        return Refuse(Unavailable(f"the route names worker {request.hop.worker}; this is {worker}"))
    if draining and request.header.hop == 0:
        return Refuse(Unavailable(f"{worker} is draining"))
    return Proceed() if phase is StagePhase.READY else Refuse(_not_ready(request.stage, worker, phase))


def output_names(request: StageRequest, spec: StageSpec) -> tuple[str, ...]:
    """Returns the names of the tensors that leave with a request: live ones, or those that the client requested."""
    if request.next_hop is not None or not request.header.requested_outputs:
        return spec.live_out
    return tuple(request.header.requested_outputs)


def outputs_to_compute(request: StageRequest, spec: StageSpec) -> frozenset[str]:
    """Returns the outputs of the stage that a request needs."""
    return spec.outputs.intersection(output_names(request, spec))


def iter_outgoing(
    request: StageRequest, spec: StageSpec, computed: Mapping[str, Tensor]
) -> Iterator[tuple[str, Tensor | None]]:
    """Yields name and tensor of what leaves with a request: computed here or carried through; None where it is neither."""
    for name in output_names(request, spec):
        yield name, computed.get(name) or request.tensors.get(name)


def outgoing_tensors(request: StageRequest, spec: StageSpec, computed: Mapping[str, Tensor]) -> list[Tensor]:
    """Returns the tensors that leave with a request.

    Raises:
        InvalidRequest: One was neither computed nor received: the client requested an output that the model lacks, or
            an earlier stage left a tensor out (INVALID_ARGUMENT).
    """
    tensors = []
    for name, tensor in iter_outgoing(request, spec, computed):
        if tensor is None:
            raise InvalidRequest(f"{spec.stage} neither computes nor was given '{name}'")
        tensors.append(tensor)
    return tensors


def counts_as_drop(error: MeshError) -> bool:
    """Whether a request that ended with this error counts as dropped, not as failed."""
    return isinstance(error, DeadlineExceeded | Cancelled)


def _not_ready(stage: StageKey, worker: WorkerId, phase: StagePhase | None) -> StageNotHeld:
    match phase:
        case StagePhase.LOADING:
            return StageNotHeld(f"{worker} is still loading {stage}")
        case StagePhase.EVICTING:
            return StageNotHeld(f"{worker} is evicting {stage}")
        case _:
            return StageNotHeld(f"{worker} does not hold {stage}")
