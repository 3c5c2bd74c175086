"""What gateways are told: deployments and who serves them in, route table out. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Set
from dataclasses import dataclass, field

from onnxmesh.discovery.instance import Instance
from onnxmesh.ids import StageKey, WorkerId, stage_key
from onnxmesh.state.base import Deployment
from onnxmesh.v1.mesh_pb2 import RoutedModel, RoutedReplica, RoutedStage, RoutedWorker, Splitting
from onnxmesh.v1.model_pb2 import Plan
from services.scheduler.desired.desired_stages import ModelKey


@dataclass(frozen=True, slots=True)
class ModelRoutes:
    """What a model's message was made from.

    Attributes:
        deployment: The deployment.
        stages: Its stages, in order.
        replicas: For each of them the workers that serve it.
        percent: Its part of the requests that name no version; None: it has none of its own.
    """

    deployment: Deployment
    stages: tuple[StageKey, ...]
    replicas: tuple[tuple[WorkerId, ...], ...]
    percent: int | None = None

    @property
    def is_complete(self) -> bool:
        """Whether every stage has a replica."""
        return all(self.replicas)


@dataclass(frozen=True, slots=True)
class Routes:
    """The content of a route table. What did not change is, object by object, what it was in the one before.

    Attributes:
        models: The models that may be routed to. Nobody changes these messages.
        workers: What the workers that they name say of themselves, and those that leave. The same.
        published: The models' names: once complete, a model stays for as long as it is deployed.
        model_routes: What each of the models was made from.
        instances: The workers that there were.
        leaving: Which of them were leaving.
    """

    models: Mapping[ModelKey, RoutedModel] = field(default_factory=dict)
    workers: Mapping[WorkerId, RoutedWorker] = field(default_factory=dict)
    published: frozenset[ModelKey] = frozenset()
    model_routes: Mapping[ModelKey, ModelRoutes] = field(default_factory=dict)
    instances: Mapping[WorkerId, Instance] = field(default_factory=dict)
    leaving: frozenset[WorkerId] = frozenset()


def build_routes(
    deployments: Iterable[Deployment],
    routed: Mapping[StageKey, tuple[WorkerId, ...]],
    workers: Mapping[WorkerId, Instance],
    previous: Routes,
    *,
    leaving: Collection[WorkerId] = (),
    percents: Mapping[ModelKey, int] | None = None,
) -> Routes:
    """Returns the models that gateways may route to, and with whom.

    Args:
        deployments: Everything that is to be served.
        routed: For each stage the workers that serve it.
        workers: How to reach each of them; a mapping that nobody changes any more.
        previous: What was returned before: models that were complete stay, if need be with stages that have no
            replica, and what did not change is taken over.
        leaving: Workers that are being emptied of all, or of their last stage: they are told of though no model names
            them, for what they were sent is still answered.
        percents: Parts of the requests that name no version, of models that have one of their own.
    """
    news = {id_ for id_, each in workers.items() if previous.instances.get(id_) is not each}
    moved = {id_ for id_ in news if _where(previous.instances.get(id_)) != _where(workers[id_])}
    models, model_routes = {}, {}
    for deployment in deployments:
        key = (deployment.name, deployment.version)
        held = previous.model_routes.get(key)
        now = _basis(deployment, routed, held, (percents or {}).get(key))
        if key in previous.published or now.is_complete:
            model_routes[key] = now
            same = now is held and all(map(moved.isdisjoint, now.replicas))
            models[key] = (
                previous.models[key] if same else _kept(_model(now, workers), previous.models.get(key))
            )
    named = frozenset().union(*(each for now in model_routes.values() for each in now.replicas), leaving)
    return Routes(
        models=models,
        workers=_described(named, frozenset(leaving), workers, news, previous),
        published=frozenset(models),
        model_routes=model_routes,
        instances=workers,
        leaving=frozenset(leaving),
    )


def inputs_by_stage(plan: Plan) -> list[list[str]]:
    """Returns for each stage which of the model's inputs the gateway sends it.

    Where no stage has direct inputs, none has an entry: all inputs go to stage 0. Otherwise stage 0 gets those that
    it reads or passes on.
    """
    direct = [list(partition.direct_inputs) for partition in plan.partitions]
    if any(direct):
        first = plan.partitions[0]
        needed = {spec.name for spec in first.inputs}.union(first.live_out)
        direct[0] = [spec.name for spec in plan.signature.inputs if spec.name in needed]
    return direct


def splitting(plan: Plan) -> Splitting | None:
    """Returns how requests may be cut and put together; None where some stage forbids it."""
    found = [partition.batching for partition in plan.partitions]
    max_rows = min(each.max_split_rows for each in found)
    if max_rows < 2:
        return None
    shared = {name for each in found for name in each.shared}
    return Splitting(
        max_rows=max_rows,
        shared=[spec.name for spec in plan.signature.outputs if spec.name in shared],
        cpu_class=found[0].cpu_class,
        max_batch_rows=min(each.max_rows for each in found),
    )


def _basis(
    deployment: Deployment,
    routed: Mapping[StageKey, tuple[WorkerId, ...]],
    held: ModelRoutes | None,
    percent: int | None,
) -> ModelRoutes:
    """Returns what a model's message is to be made from; `held` itself where that is the same."""
    if held is not None and held.deployment is deployment:
        stages = held.stages
    else:
        plan = deployment.plan
        stages = tuple(
            stage_key(deployment.name, deployment.version, each.index, plan.revision)
            for each in plan.partitions
        )
        held = None
    replicas = tuple(routed.get(key, ()) for key in stages)
    if held is not None and held.replicas == replicas and held.percent == percent:
        return held
    return ModelRoutes(deployment, stages, replicas, percent)


def _model(basis: ModelRoutes, workers: Mapping[WorkerId, Instance]) -> RoutedModel:
    plan = basis.deployment.plan
    return RoutedModel(
        name=basis.deployment.name,
        version=basis.deployment.version,
        signature=plan.signature,
        stages=[
            RoutedStage(
                stage=key,
                replicas=[
                    RoutedReplica(
                        worker=id_, address=workers[id_].address, generation=workers[id_].generation
                    )
                    for id_ in replicas
                ],
                direct_inputs=direct,
            )
            for key, replicas, direct in zip(basis.stages, basis.replicas, inputs_by_stage(plan), strict=True)
        ],
        traffic_percent=basis.percent,
        splitting=splitting(plan),
    )


def _kept(model: RoutedModel, before: RoutedModel | None) -> RoutedModel:
    """Returns the message of before where the new one says the same, so that gateways are not told for nothing."""
    return before if before is not None and before == model else model


def _described(
    named: frozenset[WorkerId],
    leaving: frozenset[WorkerId],
    workers: Mapping[WorkerId, Instance],
    news: Set[WorkerId],
    previous: Routes,
) -> Mapping[WorkerId, RoutedWorker]:
    """Returns what the workers that are named say of themselves."""
    told = previous.workers
    gone = told.keys() - named
    fresh = (named & news) | (named - told.keys()) | (named & (leaving ^ previous.leaving))
    if not gone and not fresh:
        return told
    described = dict(told)
    for id_ in gone:
        del described[id_]
    for id_ in fresh:
        says = RoutedWorker(
            worker=id_,
            tags=workers[id_].tags,
            attributes=workers[id_].attributes,
            leaving=id_ in leaving,
        )
        if described.get(id_) != says:
            described[id_] = says
    return described


def _where(instance: Instance | None) -> tuple[str, int] | None:
    return None if instance is None else (instance.address, instance.generation)
