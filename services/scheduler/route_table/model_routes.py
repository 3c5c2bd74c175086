"""Routes of one model: its stages and the workers that serve each. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from onnxmesh.ids import StageKey, WorkerId, stage_key
from onnxmesh.state.base import Deployment


@dataclass(frozen=True, slots=True)
class ModelRoutes:
    """What a model's message in the route table is made from.

    Attributes:
        deployment: The deployment.
        stages: Its stages, in order.
        replicas: For each of them the workers that serve it.
        percent: Its percentage of the requests that name no version; None: versions do not share them.
    """

    deployment: Deployment
    stages: tuple[StageKey, ...]
    replicas: tuple[tuple[WorkerId, ...], ...]
    percent: int | None = None

    @property
    def is_complete(self) -> bool:
        """Whether every stage has a replica."""
        return all(self.replicas)


def model_routes(
    deployment: Deployment,
    routed: Mapping[StageKey, tuple[WorkerId, ...]],
    previous: ModelRoutes | None,
    percent: int | None,
) -> ModelRoutes:
    """Returns the routes of a deployment; `previous` itself where they are equal.

    Args:
        deployment: The deployment.
        routed: For each stage the workers that serve it.
        previous: Its routes in the table before; None: it was not in it.
        percent: Its percentage of the requests that name no version; None: versions do not share them.
    """
    if previous is not None and previous.deployment is deployment:
        stages = previous.stages
    else:
        plan = deployment.plan
        stages = tuple(
            stage_key(deployment.name, deployment.version, each.index, plan.revision)
            for each in plan.partitions
        )
        previous = None
    replicas = tuple(routed.get(key, ()) for key in stages)
    if previous is not None and previous.replicas == replicas and previous.percent == percent:
        return previous
    return ModelRoutes(deployment, stages, replicas, percent)
