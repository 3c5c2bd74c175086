"""Rollover of a deployment to its next plan, without a gap in service."""

from __future__ import annotations

import asyncio

import structlog

from onnxmesh.errors import DeadlineExceeded
from onnxmesh.model.plan import Plan as CutPlan
from onnxmesh.state.base import Deployment
from onnxmesh.v1.model_pb2 import Plan
from services.scheduler.deployments.catalogue import Catalogue
from services.scheduler.deployments.retention import Retention
from services.scheduler.planning.preparation import Preparation
from services.scheduler.plans.plan_message import record_predictions
from services.scheduler.plans.survey import Survey
from services.scheduler.reconciliation.goal import ReplanGoal
from services.scheduler.reconciliation.reconciler import Reconciler
from services.scheduler.workers.eligibility import Eligible

_log = structlog.get_logger(__name__)


class PlanRollover:
    """Puts another plan of a deployment in force.

    The new partitions are loaded beside those in force; the route table changes over when all are loaded, and the old
    ones stay loaded for `linger_s`, for requests under way. A rollover that fails leaves what is served as it is.

    Args:
        catalogue: All deployments.
        preparation: Cuts the model by the new plan.
        reconciler: Loads the new partitions.
        retention: Keeps blobs while they are needed.
        linger_s: How long replaced stages stay loaded.
        timeout_s: Longest wait for the new partitions to be loaded.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        preparation: Preparation,
        reconciler: Reconciler,
        *,
        retention: Retention,
        linger_s: float,
        timeout_s: float,
    ) -> None:
        self._catalogue = catalogue
        self._preparation = preparation
        self._reconciler = reconciler
        self._retention = retention
        self._linger_s = linger_s
        self._timeout_s = timeout_s

    async def reassign(self, deployment: Deployment, survey: Survey, cut_plan: CutPlan) -> None:
        """Assigns the same partitions to other workers; placement moves them."""
        plan = Plan()
        plan.CopyFrom(deployment.plan)
        record_predictions(plan, cut_plan, survey)
        if plan != deployment.plan and await self._catalogue.renew(_with_plan(deployment, plan)):
            _log.info("plan_reassigned", model=deployment.name, version=deployment.version)
            self._reconciler.reconcile()

    async def roll_over(
        self, deployment: Deployment, eligible: Eligible, survey: Survey, cut_plan: CutPlan
    ) -> None:
        """Cuts the model by a new plan, loads it beside the plan in force and changes over to it.

        Raises:
            DeadlineExceeded: The new partitions were not loaded in time (DEADLINE_EXCEEDED).
            MeshError: See `Preparation.replan` and `ReplanGoal`.
        """
        key = (deployment.name, deployment.version)
        with self._retention.scope() as scope:
            successor = await self._preparation.replan(deployment, eligible, survey, cut_plan, scope)
            if not self._catalogue.add_standby(successor):
                return
        try:
            self._reconciler.reconcile()
            goal = ReplanGoal(self._catalogue, self._reconciler.refusal, deployment, successor)
            try:
                async with asyncio.timeout(self._timeout_s):
                    await self._reconciler.until(goal)
            except TimeoutError:
                raise DeadlineExceeded(f"the new plan was not loaded within {self._timeout_s:g} s") from None
            if await self._catalogue.swap(successor):
                self._reconciler.reconcile()
                revision = successor.plan.revision
                _log.info("plan_rolled_over", model=key[0], version=key[1], revision=revision)
                await asyncio.sleep(self._linger_s)
        finally:
            standby = self._catalogue.standby.get(key)
            if standby is not None and standby.source is deployment.source:
                self._catalogue.remove_standby(key)
        self._reconciler.reconcile()


def _with_plan(deployment: Deployment, plan: Plan) -> Deployment:
    return Deployment(deployment.spec, plan, deployment.source, deployment.costs, deployment.profile)
