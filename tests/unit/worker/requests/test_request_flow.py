"""Decisions about a request."""

from __future__ import annotations

import pytest

from onnxmesh.errors import DeadlineExceeded, InvalidRequest, Unavailable
from onnxmesh.ids import WorkerId
from services.worker.requests import request_flow
from services.worker.requests.request_flow import Drop, Proceed, Refuse
from services.worker.requests.stage_phase import StagePhase
from tests.unit.worker.stage_requests import request, spec, tensor


@pytest.mark.parametrize(
    ("cancelled", "at_s", "outcome"),
    [(False, 10.1, Proceed), (False, 10.0, Refuse), (True, 10.1, Drop), (True, 9.0, Drop)],
)
def test_check_wanted_drops_cancelled_requests_and_refuses_late_ones(cancelled, at_s, outcome):
    """At the deadline itself a request is late."""
    decision = request_flow.check_wanted(request(at_s=at_s), cancelled=cancelled, now_s=10.0)
    assert isinstance(decision, outcome)
    if isinstance(decision, Refuse):
        assert isinstance(decision.error, DeadlineExceeded)


@pytest.mark.parametrize(
    ("phase", "draining", "hop", "worker", "message"),
    [
        (StagePhase.READY, False, 0, "w", None),
        (StagePhase.READY, True, 1, "w", None),
        (StagePhase.READY, True, 0, "w", "draining"),
        (StagePhase.LOADING, False, 0, "w", "still loading"),
        (StagePhase.EVICTING, False, 0, "w", "evicting m/1/0"),
        (None, False, 0, "w", "does not hold m/1/0"),
        (StagePhase.READY, False, 0, "other", "names worker other"),
    ],
)
def test_admit_checks_phase_drain_and_route(phase, draining, hop, worker, message):
    """A draining worker admits only requests that earlier stages have worked on."""
    decision = request_flow.admit(
        request(hop=hop, worker=worker),
        WorkerId("w"),
        phase,
        draining=draining,
        cancelled=False,
        now_s=0.0,
    )
    if message is None:
        assert isinstance(decision, Proceed)
    else:
        assert isinstance(decision, Refuse)
        assert isinstance(decision.error, Unavailable)
        assert message in decision.error.message


@pytest.mark.parametrize(
    ("hop", "requested", "computed", "sent_names"),
    [
        (0, (), {"h", "s"}, ["h", "x"]),
        (0, ("y",), {"h", "s"}, ["h", "x"]),
        (1, (), {"h", "s"}, ["h", "x"]),
        (1, ("x",), set(), ["x"]),
        (1, ("s",), {"s"}, ["s"]),
    ],
)
def test_outgoing_tensors_are_the_live_ones_or_those_requested(hop, requested, computed, sent_names):
    """A tensor that is only carried through is the very same object: no copy."""
    it = request(hop=hop, outputs=requested)
    stage = spec(outputs=("h", "s"), live_out=("h", "x"))
    needed = request_flow.outputs_to_compute(it, stage)
    assert needed == (computed & {"h"} if not requested or hop == 0 else computed)
    sent = request_flow.outgoing_tensors(it, stage, {name: tensor(name) for name in needed})
    assert [each.name for each in sent] == sent_names
    assert all(each is it.tensors["x"] for each in sent if each.name == "x")


def test_outgoing_tensors_refuse_a_name_that_does_not_exist():
    """The message names the tensor and the stage."""
    with pytest.raises(InvalidRequest, match="m/1/0 neither computes nor was given 'z'"):
        request_flow.outgoing_tensors(request(stages=("m/1/0",), outputs=("z",)), spec(), {})
