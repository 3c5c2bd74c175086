"""Holdings of one worker: events and commands in, state out."""

from __future__ import annotations

from onnxmesh.ids import Digest, StageKey
from onnxmesh.v1.worker_pb2 import StageFailed, StageLoaded
from services.scheduler.workers.holdings import Holdings, HoldingState
from tests.unit.scheduler.decision_tables import STAGE


def test_holdings_fold_events():
    holdings = Holdings()
    holdings.placing(STAGE, Digest("d"))
    assert holdings.stages[STAGE].state is HoldingState.LOADING
    holdings.loaded(StageLoaded(stage=STAGE, digest="d"))
    assert holdings.stages[STAGE].state is HoldingState.READY
    holdings.evicting(STAGE)
    holdings.loaded(StageLoaded(stage=STAGE, digest="d"))
    assert holdings.stages[STAGE].state is HoldingState.EVICTING
    holdings.evicted(STAGE)
    assert not holdings.stages


def test_holdings_keep_a_failed_stage_that_is_being_evicted_until_the_eviction_is_reported():
    holdings = Holdings()
    holdings.placing(STAGE, Digest("d"))
    holdings.evicting(STAGE)
    holdings.failed(StageFailed(stage=STAGE, reason="INVALID_MODEL"), 0.0)
    assert holdings.stages[STAGE].state is HoldingState.EVICTING
    holdings.evicted(STAGE)
    assert not holdings.stages


def test_holdings_back_off_longer_with_each_failure_in_a_row_up_to_a_limit():
    holdings, waits = Holdings(), []
    for _ in range(8):
        holdings.placing(STAGE, Digest("d"))
        holdings.failed(StageFailed(stage=STAGE, reason="INVALID_MODEL", message="no"), 100.0)
        waits.append(holdings.stages[STAGE].retry_s - 100.0)
    assert waits == [2, 4, 8, 16, 32, 60, 60, 60]
    holdings.placing(STAGE, Digest("other"))
    assert holdings.stages[STAGE].failures == 0


def test_holdings_rebuild_replaces_everything_but_failures():
    holdings = Holdings()
    for key in ("m/1/0", "m/1/1"):
        holdings.placing(StageKey(key), Digest("d"))
    holdings.failed(StageFailed(stage="m/1/1"), 0.0)
    holdings.rebuild([StageLoaded(stage="n/1/0", digest="e")])
    assert {key: held.state for key, held in holdings.stages.items()} == {
        "m/1/1": HoldingState.FAILED,
        "n/1/0": HoldingState.READY,
    }
    holdings.remove_failures({StageKey("n/1/0")})
    assert list(holdings.stages) == ["n/1/0"]


def test_holdings_ignore_events_about_unknown_stages():
    holdings = Holdings()
    holdings.failed(StageFailed(stage="x/1/0"), 0.0)
    holdings.evicted(StageKey("x/1/0"))
    holdings.evicting(StageKey("x/1/0"))
    assert not holdings.stages
