"""The gRPC service translates messages, and no more."""

from __future__ import annotations

from onnxmesh.v1.mesh_pb2 import RebalanceRequest, RolloutRequest
from services.scheduler.operations.servicer import SchedulerServicer
from services.scheduler.placement.moves import Move


class Reconciler:
    """Would move one stage; keeps what it was called for."""

    def __init__(self):
        self.calls = []

    def moves(self):
        return (Move("m/1/0", "a", "b", "because"),)

    def rebalance(self):
        self.calls.append("rebalance")

    async def until(self, goal):
        self.calls.append(type(goal).__name__)


class Rollout:
    async def roll_out(self, name, to, percent):
        return {1: 100 - percent, to: percent}

    async def roll_back(self, name):
        return {1: 100, 2: 0}


def servicer(reconciler):
    return SchedulerServicer(
        None,
        None,
        None,
        uploads=None,
        rollout=Rollout(),
        reconciler=reconciler,
        status=None,
        publisher=None,
    )


async def test_servicer_rebalances_only_without_dry_run():
    reconciler = Reconciler()
    dry = await servicer(reconciler).Rebalance(RebalanceRequest(dry_run=True), None)
    assert reconciler.calls == []
    real = await servicer(reconciler).Rebalance(RebalanceRequest(), None)
    assert reconciler.calls == ["rebalance", "RebalanceGoal"]
    assert dry == real
    (move,) = real.moves
    assert (move.stage, move.from_worker, move.to_worker, move.why) == ("m/1/0", "a", "b", "because")


async def test_servicer_rolls_out_or_back():
    one = servicer(Reconciler())
    out = await one.Rollout(RolloutRequest(name="m", to=2, percent=30), None)
    back = await one.Rollout(RolloutRequest(name="m", to=2, percent=30, back=True), None)
    assert [(each.version, each.percent) for each in out.versions] == [(1, 70), (2, 30)]
    assert [(each.version, each.percent) for each in back.versions] == [(1, 100), (2, 0)]
