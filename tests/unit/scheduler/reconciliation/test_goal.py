"""Goals: what is still to be done, by the outcome of a reconciliation."""

from __future__ import annotations

from dataclasses import replace

import pytest

from onnxmesh.errors import Conflict, InvalidModel, Unsatisfiable
from onnxmesh.ids import StageKey
from onnxmesh.state.base import Deployment
from onnxmesh.v1.model_pb2 import Artefact, DeploymentSpec, Partition, Plan
from services.scheduler.placement.moves import Move
from services.scheduler.placement.placement import Placement
from services.scheduler.reconciliation.goal import DeployGoal, RebalanceGoal, ReplanGoal, ScaleGoal
from services.scheduler.reconciliation.reconcile_outcome import ReconcileOutcome

KEY = ("m", 1)
FIRST, SECOND = StageKey("m/1/0"), StageKey("m/1/1")


def deployment(replicas=1, revision=0):
    partitions = [Partition(index=index, artefact=Artefact(digest=f"d{index}")) for index in range(2)]
    spec = DeploymentSpec(name="m", version=1, replicas=replicas)
    return Deployment(spec, Plan(partitions=partitions, revision=revision), Artefact())


class Catalogue:
    """One deployment, or none."""

    def __init__(self, current, *, probation=True):
        self._current = current
        self.probation = {KEY} if probation else set()

    def current(self, deployment):
        return self._current


def outcome(routed, *, published=True, failures=None, **placement):
    keys = frozenset({KEY}) if published else frozenset()
    return ReconcileOutcome(Placement(routed, **placement), failures or {}, keys)


BOTH = {FIRST: ("a",), SECOND: ("b",)}


def test_deploy_goal_is_reached_when_the_model_is_complete_and_published():
    goal = DeployGoal(Catalogue(deployment()), deployment())
    assert goal.remaining(outcome(BOTH)) is None
    assert goal.remaining(outcome(BOTH, published=False)) == []
    assert goal.remaining(outcome({FIRST: ("a",)})) == [SECOND]


def test_deploy_goal_fails_without_memory_but_not_while_memory_is_freed():
    short = {"lacking_bytes": {SECOND: 2_000_000}}
    goal = DeployGoal(Catalogue(deployment()), deployment())
    with pytest.raises(Unsatisfiable, match=r"every stage: m/1/1 lacks 2\.0 MB"):
        goal.remaining(outcome({FIRST: ("a",)}, **short))
    assert goal.remaining(outcome({FIRST: ("a",)}, freeing=True, **short)) == [SECOND]
    accepted = DeployGoal(Catalogue(deployment(), probation=False), deployment())
    assert accepted.remaining(outcome({FIRST: ("a",)}, **short)) == [SECOND]


def test_deploy_goal_fails_when_a_worker_refuses_or_the_model_is_undeployed():
    with pytest.raises(InvalidModel):
        DeployGoal(Catalogue(deployment()), deployment()).remaining(
            outcome(BOTH, failures={KEY: InvalidModel("no")})
        )
    with pytest.raises(Conflict, match="undeployed while it was being loaded"):
        DeployGoal(Catalogue(None), deployment()).remaining(outcome(BOTH))


def test_scale_goal_reports_ready_replicas_until_there_are_as_many_as_desired_and_no_more():
    goal = ScaleGoal(Catalogue(deployment(replicas=2)), lambda _: None, deployment())
    assert goal.remaining(outcome(BOTH)) == "version 1: 2 of 4 replicas ready"
    assert goal.remaining(outcome({FIRST: ("a", "b"), SECOND: ("a", "b", "c")})) == (
        "version 1: 5 of 4 replicas ready"
    )
    assert goal.remaining(outcome({FIRST: ("a", "b"), SECOND: ("a", "b")})) is None


def test_scale_goal_fails_when_a_worker_refuses_or_memory_is_short():
    refused = ScaleGoal(Catalogue(deployment(replicas=2)), lambda _: InvalidModel("no"), deployment())
    with pytest.raises(InvalidModel):
        refused.remaining(outcome(BOTH))
    goal = ScaleGoal(Catalogue(deployment(replicas=2)), lambda _: None, deployment())
    with pytest.raises(Unsatisfiable, match="more replicas: m/1/0 lacks"):
        goal.remaining(outcome(BOTH, lacking_bytes={FIRST: 10**6}))
    with pytest.raises(Conflict, match="undeployed meanwhile"):
        ScaleGoal(Catalogue(None), lambda _: None, deployment()).remaining(outcome(BOTH))


def test_replan_goal_is_reached_when_loaded_undeployed_or_beside_a_plan_that_answers_nothing():
    successor = deployment(revision=1)
    new = StageKey("m/1.1/0"), StageKey("m/1.1/1")
    goal = ReplanGoal(Catalogue(successor), lambda _: None, deployment(), successor)
    assert goal.remaining(outcome(BOTH)) == [*new]
    assert goal.remaining(outcome(dict.fromkeys(new, ("a",)))) is None
    removed = replace(goal, catalogue=Catalogue(None))
    assert removed.remaining(outcome(BOTH)) is None
    short = {"lacking_bytes": {new[1]: 10**6}}
    assert goal.remaining(outcome({FIRST: ("a",)}, **short)) is None
    with pytest.raises(Unsatisfiable, match="no memory to load it beside what is served"):
        goal.remaining(outcome(BOTH, **short))


def test_rebalance_goal_is_reached_when_no_rebalance_is_under_way():
    moves = (Move(FIRST, "a", "b", "why"),)
    placement = Placement({}, moves=moves)
    assert RebalanceGoal().remaining(ReconcileOutcome(placement, rebalancing=True)) == moves
    assert RebalanceGoal().remaining(ReconcileOutcome(placement)) is None
