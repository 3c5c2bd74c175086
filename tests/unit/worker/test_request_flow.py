"""What happens to a request, point by point."""

from __future__ import annotations

import pytest

from onnxmesh.errors import DeadlineExceeded, InvalidRequest, Unavailable
from onnxmesh.ids import WorkerId
from services.worker.requests import request_flow
from services.worker.requests.request_flow import Drop, Proceed, Refuse
from services.worker.requests.stage_phase import StagePhase
from tests.unit.worker.stage_requests import part, request, tensor


@pytest.mark.parametrize(
    ("cancelled", "at_s", "outcome"),
    [(False, 10.1, Proceed), (False, 10.0, Refuse), (True, 10.1, Drop), (True, 9.0, Drop)],
)
def test_a_cancelled_request_is_dropped_and_a_late_one_refused(cancelled, at_s, outcome):
    """Silence for who does not listen any more, DEADLINE_EXCEEDED for who does; the deadline itself is late."""
    decision = request_flow.check_wanted(request(at_s=at_s), cancelled=cancelled, now_s=10.0)
    assert isinstance(decision, outcome)
    if isinstance(decision, Refuse):
        assert isinstance(decision.error, DeadlineExceeded)


@pytest.mark.parametrize(
    ("state", "draining", "hop", "worker", "says"),
    [
        (StagePhase.READY, False, 0, "w", None),
        (StagePhase.READY, True, 1, "w", None),
        (StagePhase.READY, True, 0, "w", "draining"),
        (StagePhase.LOADING, False, 0, "w", "still loading"),
        (StagePhase.EVICTING, False, 0, "w", "letting m/1/0 go"),
        (None, False, 0, "w", "does not hold m/1/0"),
        (StagePhase.READY, False, 0, "other", "means other"),
    ],
)
def test_admission(state, draining, hop, worker, says):
    """A ready stage takes what is meant for it; a draining worker takes only what others have worked on."""
    decision = request_flow.admit(
        request(hop=hop, worker=worker),
        WorkerId("w"),
        state,
        draining=draining,
        cancelled=False,
        now_s=0.0,
    )
    if says is None:
        assert isinstance(decision, Proceed)
    else:
        assert isinstance(decision, Refuse)
        assert isinstance(decision.error, Unavailable)
        assert says in decision.error.message


@pytest.mark.parametrize(
    ("hop", "asked", "computed", "leaving"),
    [
        (0, (), {"h", "s"}, ["h", "x"]),
        (0, ("y",), {"h", "s"}, ["h", "x"]),
        (1, (), {"h", "s"}, ["h", "x"]),
        (1, ("x",), set(), ["x"]),
        (1, ("s",), {"s"}, ["s"]),
    ],
)
def test_between_stages_all_that_is_alive_leaves_and_at_the_end_what_was_asked_for(
    hop, asked, computed, leaving
):
    """A tensor that is only carried through is the very same object: no copy."""
    it = request(hop=hop, outputs=asked)
    stage = part(outputs=("h", "s"), live_out=("h", "x"))
    needed = request_flow.outputs_to_compute(it, stage)
    assert needed == (computed & {"h"} if not asked or hop == 0 else computed)
    sent = request_flow.outgoing_tensors(it, stage, {name: tensor(name) for name in needed})
    assert [each.name for each in sent] == leaving
    assert all(each is it.tensors["x"] for each in sent if each.name == "x")


def test_a_tensor_that_is_neither_computed_nor_given_is_an_invalid_request():
    """It names the tensor and the stage."""
    with pytest.raises(InvalidRequest, match="m/1/0 neither computes nor was given 'z'"):
        request_flow.outgoing_tensors(request(stages=("m/1/0",), outputs=("z",)), part(), {})
