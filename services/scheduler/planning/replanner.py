"""Replanning: deployments get another plan when workers join or leave and it is worth the change."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from time import monotonic

import structlog

from onnxmesh.deadline import Clock
from onnxmesh.discovery.instance import Instance
from onnxmesh.errors import MeshError
from onnxmesh.ids import ModelKey, StageKey, WorkerId
from onnxmesh.model.graph_costs import GraphCosts
from onnxmesh.model.plan import Plan as CutPlan
from onnxmesh.model.profile import Profile
from onnxmesh.planning.planner import make_plan
from onnxmesh.state.base import Deployment
from onnxmesh.store.threads import in_thread
from services.scheduler.deployments.catalogue import Catalogue
from services.scheduler.desired.deployment_spec import demand_of
from services.scheduler.desired.desired_stages import desired_stages
from services.scheduler.fleet.fleet import Fleet
from services.scheduler.planning.plan_rollover import PlanRollover
from services.scheduler.planning.surveyor import Surveyor
from services.scheduler.plans.plan_assessment import (
    PlanAssessment,
    assess_plan,
    reason_to_replan,
    same_partitions,
)
from services.scheduler.plans.survey import Survey
from services.scheduler.reconciliation.reconciler import Reconciler
from services.scheduler.workers.eligibility import eligible_again

WorkerSet = frozenset[tuple[str, int, frozenset[tuple[str, str]]]]
"""The workers that can be planned with: ids, generations and attributes."""

_log = structlog.get_logger(__name__)


class Replanner:
    """Considers every deployment again once the workers have changed and then stayed the same for `after_s`.

    A replan that fails leaves what is served as it is, and is not tried again before the workers change.

    Args:
        catalogue: All deployments.
        fleet: The workers.
        surveyor: Surveys the mesh before a plan is made.
        reconciler: Notifies of changes.
        rollover: Puts another plan in force.
        after_s: How long the workers must have been the same.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        fleet: Fleet,
        surveyor: Surveyor,
        *,
        reconciler: Reconciler,
        rollover: PlanRollover,
        after_s: float,
        clock: Clock = monotonic,
    ) -> None:
        self._catalogue = catalogue
        self._fleet = fleet
        self._surveyor = surveyor
        self._reconciler = reconciler
        self._rollover = rollover
        self._after_s = after_s
        self._clock = clock
        self._planned_for: dict[ModelKey, WorkerSet | None] = dict.fromkeys(catalogue.deployments)
        self._failures: dict[ModelKey, str] = {}

    @property
    def failures(self) -> Mapping[ModelKey, str]:
        """Why the last replan of a deployment failed, where it did."""
        return self._failures

    async def run(self) -> None:
        """Follows the workers until it is cancelled."""
        seen: WorkerSet | None = None
        changed_s = self._clock()
        revision = 0
        while True:
            workers = _worker_set(self._fleet.candidates())
            self._track_deployments(workers)
            if workers != seen:
                seen, changed_s = workers, self._clock()
            # Without workers there is nothing to plan with: stages wait until one joins. What is being deployed is
            # considered once that has ended.
            waiting = self._planned_for.keys() - self._catalogue.probation if workers else set()
            due = [key for key in waiting if self._planned_for[key] != workers]
            idle_s = max(0.0, changed_s + self._after_s - self._clock()) if due else None
            if idle_s == 0.0:
                for key in sorted(due):
                    self._planned_for[key] = workers
                    await self._consider(key)
                continue
            try:
                async with asyncio.timeout(idle_s):
                    revision, _ = await self._reconciler.outcome.after(revision)
            except TimeoutError:
                pass

    def _track_deployments(self, workers: WorkerSet) -> None:
        """Counts new deployments as planned for the workers there are, and removes those that were undeployed."""
        deployments = self._catalogue.deployments
        for key in deployments.keys() - self._planned_for.keys():
            self._planned_for[key] = workers
        for key in self._planned_for.keys() - deployments.keys():
            del self._planned_for[key]
            self._failures.pop(key, None)

    async def _consider(self, key: ModelKey) -> None:
        """Replans one deployment if that is worth the change; never raises."""
        deployment = self._catalogue.deployments.get(key)
        if deployment is None or not _has_choice(deployment):
            return
        self._failures.pop(key, None)
        try:
            await self._replan(deployment)
        except MeshError as error:
            _log.warning("replan_failed", model=key[0], version=key[1], error=error.message)
            self._failures[key] = f"replanning failed: {error.message}"
        except Exception as error:  # noqa: BLE001 - one model's defect must not end the others
            _log.error("replan_failed", model=key[0], version=key[1], exc_info=error)
            self._failures[key] = "replanning failed: internal error, see the log of the scheduler"

    async def _replan(self, deployment: Deployment) -> None:
        key = (deployment.name, deployment.version)
        eligible = eligible_again(deployment.spec, deployment.plan, self._fleet.candidates())
        survey = await self._surveyor.survey(eligible, key)
        holders = self._holders(deployment)
        assessment, cut_plan = await in_thread(_assess_and_plan, deployment, survey, holders)
        reason = reason_to_replan(assessment, cut_plan)
        _log.info(
            "plan_considered",
            model=key[0],
            version=key[1],
            workers=survey.cluster.num_devices,
            period_s=round(assessment.period_s, 6),
            new_period_s=round(cut_plan.period_s, 6),
            new_stages=len(cut_plan.stages),
            reason=reason,
        )
        if reason is None:
            return
        if same_partitions(deployment.plan, cut_plan):
            await self._rollover.reassign(deployment, survey, cut_plan)
        else:
            _log.info("replanning", model=key[0], version=key[1], reason=reason, plan=cut_plan.why)
            await self._rollover.roll_over(deployment, eligible, survey, cut_plan)

    def _holders(self, deployment: Deployment) -> dict[StageKey, list[WorkerId]]:
        views = self._fleet.views()
        return {
            stage.key: [
                view.id
                for view in views
                if (held := view.stages.get(stage.key)) is not None
                and held.counts
                and held.digest == stage.digest
            ]
            for stage in desired_stages(deployment)
        }


def _assess_and_plan(
    deployment: Deployment, survey: Survey, holders: Mapping[StageKey, list[WorkerId]]
) -> tuple[PlanAssessment, CutPlan]:
    """Returns what the plan in force is worth now, and the plan that would be made now."""
    costs = GraphCosts.from_json(deployment.costs.decode())
    profile = Profile.from_json(deployment.profile.decode()) if deployment.profile else None
    stages = desired_stages(deployment)
    assessment = assess_plan(deployment.plan, stages, holders, survey, costs, profile)
    return assessment, make_plan(costs, survey.cluster, demand_of(deployment.spec), profile)


def _has_choice(deployment: Deployment) -> bool:
    """Whether another plan is possible at all, and the costs to make it from are known."""
    return bool(deployment.costs) and (deployment.spec.stages != 1 or deployment.spec.replicate)


def _worker_set(workers: list[Instance]) -> WorkerSet:
    return frozenset((each.id, each.generation, frozenset(each.attributes.items())) for each in workers)
