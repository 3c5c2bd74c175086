"""What happens to a request at each point of its way through a worker. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from onnxmesh.errors import Cancelled, DeadlineExceeded, InvalidRequest, MeshError, StageGone, Unavailable
from onnxmesh.ids import StageKey, WorkerId
from onnxmesh.tensors.tensor import Tensor
from services.worker.requests.stage_part import StagePart
from services.worker.requests.stage_phase import StagePhase
from services.worker.requests.stage_request import StageRequest


@dataclass(frozen=True, slots=True)
class Proceed:
    """Nothing stands against it."""


@dataclass(frozen=True, slots=True)
class Drop:
    """Nobody waits for it: it ends here, and nothing is said."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """It ends here, and its origin is told why.

    Attributes:
        error: What it is told.
    """

    error: MeshError


Decision = Proceed | Drop | Refuse


def still_wanted(request: StageRequest, *, cancelled: bool, now_s: float) -> Decision:
    """Decides whether to spend anything more on a request: asked before it runs and before it goes on."""
    if cancelled:
        return Drop()
    if request.deadline.at_s <= now_s:
        return Refuse(DeadlineExceeded(f"the deadline passed before {request.stage} was done"))
    return Proceed()


def admit(
    request: StageRequest,
    worker: WorkerId,
    state: StagePhase | None,
    *,
    draining: bool,
    cancelled: bool,
    now_s: float,
) -> Decision:
    """Decides whether an Activation that just came may queue for its stage.

    A worker that drains takes no new request, which costs nothing to try elsewhere; one that other stages
    have worked on already is finished here.

    Args:
        request: What came.
        worker: This worker.
        state: Of the stage that it wants; None if that is not held.
        draining: Whether this worker is about to stop.
        cancelled: Whether its origin gave it up.
        now_s: This process's monotonic clock.
    """
    decision = still_wanted(request, cancelled=cancelled, now_s=now_s)
    if not isinstance(decision, Proceed):
        return decision
    if request.hop.worker != worker:
        return Refuse(Unavailable(f"the route means {request.hop.worker}; this is {worker}"))
    if draining and request.header.hop == 0:
        return Refuse(Unavailable(f"{worker} is draining"))
    return Proceed() if state is StagePhase.READY else Refuse(_not_ready(request.stage, worker, state))


def wanted_after(request: StageRequest, part: StagePart) -> tuple[str, ...]:
    """Returns the names of the tensors that leave with the request: live ones, or those the client asked for."""
    if request.next_hop is not None or not request.header.requested_outputs:
        return part.live_out
    return tuple(request.header.requested_outputs)


def to_compute(request: StageRequest, part: StagePart) -> frozenset[str]:
    """Returns which of the stage's outputs this request needs."""
    return part.outputs.intersection(wanted_after(request, part))


def leaving(
    request: StageRequest, part: StagePart, computed: Mapping[str, Tensor]
) -> Iterator[tuple[str, Tensor | None]]:
    """Yields what leaves with the request, by name: computed here, or carried through untouched; None: it is neither."""
    for name in wanted_after(request, part):
        yield name, computed.get(name) or request.tensors.get(name)


def outgoing(request: StageRequest, part: StagePart, computed: Mapping[str, Tensor]) -> list[Tensor]:
    """Returns the tensors that leave with the request.

    Raises:
        InvalidRequest: One is neither: the client asked for an output that the model lacks, or an earlier
            stage left a tensor out (INVALID_ARGUMENT).
    """
    tensors = []
    for name, tensor in leaving(request, part, computed):
        if tensor is None:
            raise InvalidRequest(f"{part.stage} neither computes nor was given '{name}'")
        tensors.append(tensor)
    return tensors


def counts_as_drop(error: MeshError) -> bool:
    """Whether a request that ended so was dropped, rather than having failed."""
    return isinstance(error, DeadlineExceeded | Cancelled)


def _not_ready(stage: StageKey, worker: WorkerId, state: StagePhase | None) -> StageGone:
    match state:
        case StagePhase.LOADING:
            return StageGone(f"{worker} is still loading {stage}")
        case StagePhase.EVICTING:
            return StageGone(f"{worker} is letting {stage} go")
        case _:
            return StageGone(f"{worker} does not hold {stage}")
