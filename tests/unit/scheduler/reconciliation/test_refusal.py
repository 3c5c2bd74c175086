"""Which failures no other worker can be expected to mend."""

from __future__ import annotations

import pytest

from onnxmesh.errors import InvalidModel
from onnxmesh.ids import Digest
from services.scheduler.desired.desired_stages import DesiredStage
from services.scheduler.reconciliation.refusal import find_refusal
from services.scheduler.workers.holdings import Held, HoldingState
from tests.unit.scheduler.decision_tables import STAGE

STAGES = [DesiredStage(STAGE, ("m", 1), Digest("d"))]


def failed(reason, digest="d"):
    return Held(HoldingState.FAILED, Digest(digest), reason=reason, message="no such op")


def test_find_refusal_names_stage_and_worker():
    """The error has the class of its reason; a worker before that may still load it is skipped."""
    holdings = {"a": {STAGE: failed("UNAVAILABLE")}, "b": {STAGE: failed("INVALID_MODEL")}}
    error = find_refusal(STAGES, holdings)
    assert isinstance(error, InvalidModel)
    assert error.message == "stage 'm/1/0' failed on worker 'b': no such op"


@pytest.mark.parametrize(
    "held",
    [
        failed("UNAVAILABLE"),
        failed("INVALID_MODEL", digest="other content"),
        Held(HoldingState.LOADING, Digest("d"), reason="INVALID_MODEL"),
    ],
)
def test_find_refusal_ignores_what_may_pass_or_is_not_current(held):
    assert find_refusal(STAGES, {"a": {STAGE: held}, "b": {}}) is None
