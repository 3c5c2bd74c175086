"""New plans when workers come or go."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from time import monotonic

import structlog

from onnxmesh.deadline import Clock
from onnxmesh.discovery.instance import Instance
from onnxmesh.errors import DeadlineExceeded, MeshError, Unsatisfiable
from onnxmesh.ids import StageKey, WorkerId
from onnxmesh.model.graph_costs import GraphCosts
from onnxmesh.model.plan import Plan as CutPlan
from onnxmesh.model.profile import Profile
from onnxmesh.planning.planner import make_plan
from onnxmesh.state.base import Deployment
from onnxmesh.store.threads import in_thread
from onnxmesh.v1.model_pb2 import Plan
from services.scheduler.deployments.catalogue import Catalogue
from services.scheduler.deployments.retention import Retention
from services.scheduler.desired.deployment_spec import demand_of
from services.scheduler.desired.desired_stages import ModelKey, desired_stages
from services.scheduler.fleet.fleet import Fleet
from services.scheduler.placement.placement import missing, without_capacity
from services.scheduler.planning.preparation import Preparation
from services.scheduler.plans.plan_assessment import (
    PlanAssessment,
    assess_plan,
    reason_to_replan,
    same_partitions,
)
from services.scheduler.plans.plan_message import record_predictions
from services.scheduler.plans.survey import Survey, Surveyor
from services.scheduler.reconciliation.reconciler import Reconciler
from services.scheduler.workers.eligibility import Eligible, eligible_again

WorkerSet = frozenset[tuple[str, int, frozenset[tuple[str, str]]]]
"""Who is there to be planned with: ids, generations and attributes."""

_log = structlog.get_logger(__name__)


class Replanner:
    """Plans deployments anew for the workers there are, and has them go over without a gap in service.

    The new partitions are loaded beside those in force; the route table goes over when all are there, and the old
    ones stay for a while after, for requests under way. A change that fails leaves what is served as it is, and is not
    tried again before workers come or go.

    Args:
        catalogue: What is deployed.
        fleet: The workers.
        surveyor: Looks at them before a plan is made.
        preparation: Has models cut.
        reconciler: Has plans carried out.
        retention: Keeps blobs that are needed on the way.
        after_s: How long the workers must have been the same before plans are made.
        linger_s: How long what was replaced is still held.
        timeout_s: How long it may take to load a new plan.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        fleet: Fleet,
        surveyor: Surveyor,
        preparation: Preparation,
        reconciler: Reconciler,
        retention: Retention,
        *,
        after_s: float,
        linger_s: float,
        timeout_s: float,
        clock: Clock = monotonic,
    ) -> None:
        self._catalogue = catalogue
        self._fleet = fleet
        self._surveyor = surveyor
        self._preparation = preparation
        self._reconciler = reconciler
        self._retention = retention
        self._after_s = after_s
        self._linger_s = linger_s
        self._timeout_s = timeout_s
        self._clock = clock
        self._planned_for: dict[ModelKey, WorkerSet | None] = dict.fromkeys(catalogue.deployments)
        self._failures: dict[ModelKey, str] = {}

    @property
    def failures(self) -> Mapping[ModelKey, str]:
        """Why the last attempt to plan a deployment anew came to nothing, where it did."""
        return self._failures

    async def run(self) -> None:
        """Follows the workers until it is cancelled."""
        seen: WorkerSet | None = None
        changed_s = self._clock()
        revision = 0
        while True:
            workers_now = _worker_set(self._fleet.candidates())
            self._track_deployments(workers_now)
            if workers_now != seen:
                seen, changed_s = workers_now, self._clock()
            # With nobody there, there is nothing to plan with: stages wait for whoever comes.
            due = [
                key
                for key, planned_for in self._planned_for.items()
                if workers_now and planned_for != workers_now
            ]
            idle_s = max(0.0, changed_s + self._after_s - self._clock()) if due else None
            if idle_s == 0.0:
                for key in sorted(due):
                    self._planned_for[key] = workers_now
                    await self._consider(key)
                continue
            try:
                async with asyncio.timeout(idle_s):
                    revision, _ = await self._reconciler.outcome.after(revision)
            except TimeoutError:
                pass

    def _track_deployments(self, workers_now: WorkerSet) -> None:
        """Counts new deployments as planned for the workers there are, and forgets those that are out."""
        deployments = self._catalogue.deployments
        for key in deployments.keys() - self._planned_for.keys():
            self._planned_for[key] = workers_now
        for key in self._planned_for.keys() - deployments.keys():
            del self._planned_for[key]
            self._failures.pop(key, None)

    async def _consider(self, key: ModelKey) -> None:
        """Plans one deployment anew and carries the plan out if that is worth it; never raises."""
        deployment = self._catalogue.deployments.get(key)
        if deployment is None or key in self._catalogue.probation or not _is_free(deployment):
            return
        self._failures.pop(key, None)
        try:
            await self._replan(deployment)
        except MeshError as error:
            _log.warning("not_planned_anew", model=key[0], version=key[1], error=error.message)
            self._failures[key] = f"planning anew failed: {error.message}"
        except Exception as error:  # noqa: BLE001 - one model's defect must not end the others
            _log.error("not_planned_anew", model=key[0], version=key[1], exc_info=error)
            self._failures[key] = (
                "planning anew failed: internal error, the log of the scheduler has the rest"
            )

    async def _replan(self, deployment: Deployment) -> None:
        key = (deployment.name, deployment.version)
        eligible = eligible_again(deployment.spec, deployment.plan, self._fleet.candidates())
        survey = await self._surveyor.survey(eligible, key)
        holders = self._holders(deployment)
        standing, cut_plan = await in_thread(_prospects, deployment, survey, holders)
        reason = reason_to_replan(standing, cut_plan)
        _log.info(
            "plan_considered",
            model=key[0],
            version=key[1],
            workers=survey.cluster.num_devices,
            period_s=round(standing.period_s, 6),
            new_period_s=round(cut_plan.period_s, 6),
            new_stages=len(cut_plan.stages),
            reason=reason,
        )
        if reason is None:
            return
        if same_partitions(deployment.plan, cut_plan):
            await self._reassign(deployment, survey, cut_plan)
        else:
            _log.info("planning_anew", model=key[0], version=key[1], reason=reason, plan=cut_plan.why)
            await self._roll_over(deployment, eligible, survey, cut_plan)

    async def _reassign(self, deployment: Deployment, survey: Survey, cut_plan: CutPlan) -> None:
        """Means the same partitions for other workers; placement moves them."""
        plan = Plan()
        plan.CopyFrom(deployment.plan)
        record_predictions(plan, cut_plan, survey)
        if plan != deployment.plan and await self._catalogue.renew(_under(deployment, plan)):
            _log.info("planned_for_others", model=deployment.name, version=deployment.version)
            self._reconciler.reconcile()

    async def _roll_over(
        self, deployment: Deployment, eligible: Eligible, survey: Survey, cut_plan: CutPlan
    ) -> None:
        """Has a new plan cut, loaded beside the old, and put in force."""
        key = (deployment.name, deployment.version)
        with self._retention.scope() as scope:
            successor = await self._preparation.replan(deployment, eligible, survey, cut_plan, scope)
            if not self._catalogue.add_standby(successor):
                return
        try:
            self._reconciler.reconcile()
            try:
                async with asyncio.timeout(self._timeout_s):
                    await self._loaded(deployment, successor)
            except TimeoutError:
                raise DeadlineExceeded(f"the new plan was not loaded within {self._timeout_s:g} s") from None
            if await self._catalogue.swap(successor):
                self._reconciler.reconcile()
                revision = successor.plan.revision
                _log.info("planned_anew", model=key[0], version=key[1], revision=revision)
                await asyncio.sleep(self._linger_s)
        finally:
            beside = self._catalogue.standby.get(key)
            if beside is not None and beside.source is deployment.source:
                self._catalogue.remove_standby(key)
        self._reconciler.reconcile()

    async def _loaded(self, deployment: Deployment, successor: Deployment) -> None:
        """Returns once the successor can be served, or once nothing is served that it could replace.

        Raises:
            Unsatisfiable: There is no memory for it beside what is served (FAILED_PRECONDITION).
            MeshError: A worker refused a stage.
        """
        stages, old = desired_stages(successor), desired_stages(deployment)
        revision = 0
        while self._catalogue.current(successor) is not None:
            revision, outcome = await self._reconciler.outcome.after(revision)
            placement = outcome.placement
            if not missing(stages, placement):
                return
            if (error := self._reconciler.refusal(successor)) is not None:
                raise error
            lacking = without_capacity(stages, placement)
            if lacking and any(not placement.routed.get(stage.key) for stage in old):
                return  # what is in force answers nothing, and takes the room
            if lacking:
                raise Unsatisfiable(f"there is no memory to load it beside what is served: {lacking}")

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


def _prospects(
    deployment: Deployment, survey: Survey, holders: Mapping[StageKey, list[WorkerId]]
) -> tuple[PlanAssessment, CutPlan]:
    """Returns how today's plan stands, and the plan that would be made today."""
    costs = GraphCosts.from_json(deployment.costs.decode())
    profile = Profile.from_json(deployment.profile.decode()) if deployment.profile else None
    stages = desired_stages(deployment)
    standing = assess_plan(deployment.plan, stages, holders, survey, costs, profile)
    return standing, make_plan(costs, survey.cluster, demand_of(deployment.spec), profile)


def _is_free(deployment: Deployment) -> bool:
    """Whether a plan can be another one at all, and is known well enough to be made again."""
    return bool(deployment.costs) and (deployment.spec.stages != 1 or deployment.spec.replicate)


def _under(deployment: Deployment, plan: Plan) -> Deployment:
    return Deployment(deployment.spec, plan, deployment.source, deployment.costs, deployment.profile)


def _worker_set(workers: list[Instance]) -> WorkerSet:
    return frozenset((each.id, each.generation, frozenset(each.attributes.items())) for each in workers)
