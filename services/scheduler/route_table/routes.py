"""Routes: the content of the route table, from deployments and the workers that serve them. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Set
from dataclasses import dataclass, field

from onnxmesh.discovery.instance import Instance
from onnxmesh.ids import ModelKey, StageKey, WorkerId
from onnxmesh.state.base import Deployment
from onnxmesh.v1.mesh_pb2 import RoutedModel, RoutedWorker
from services.scheduler.route_table.model_routes import ModelRoutes, model_routes
from services.scheduler.route_table.route_messages import model_message


@dataclass(frozen=True, slots=True)
class Routes:
    """The content of a route table; what did not change is, object by object, what it was in the one before.

    Attributes:
        models: The models that may be routed to. These messages are immutable.
        workers: Tags and attributes of the workers that the models name, and of those that are leaving. The same.
        published: The models' names: once complete, a model stays for as long as it is deployed.
        by_model: The routes that each model's message was made from.
        instances: The workers that were registered.
        leaving: Those of them that were leaving.
    """

    models: Mapping[ModelKey, RoutedModel] = field(default_factory=dict)
    workers: Mapping[WorkerId, RoutedWorker] = field(default_factory=dict)
    published: frozenset[ModelKey] = frozenset()
    by_model: Mapping[ModelKey, ModelRoutes] = field(default_factory=dict)
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
    """Returns the models that gateways may route to, and their replicas.

    Args:
        deployments: All deployments that are to be served.
        routed: For each stage the workers that serve it.
        workers: The registered workers; a mapping that does not change any more.
        previous: The routes before: models that were complete stay, if need be with stages that have no replica,
            and what did not change is reused.
        leaving: Workers that are being drained, or evict their last stage: they are in the table though no model
            names them, since requests that they were sent are still answered.
        percents: Percentages of the requests that name no version, of models that have a traffic split.
    """
    updated = {id_ for id_, each in workers.items() if previous.instances.get(id_) is not each}
    moved = {id_ for id_ in updated if _process(previous.instances.get(id_)) != _process(workers[id_])}
    models, by_model = {}, {}
    for deployment in deployments:
        key = (deployment.name, deployment.version)
        before = previous.by_model.get(key)
        now = model_routes(deployment, routed, before, (percents or {}).get(key))
        if key in previous.published or now.is_complete:
            by_model[key] = now
            same = now is before and all(map(moved.isdisjoint, now.replicas))
            models[key] = (
                previous.models[key]
                if same
                else _reused(model_message(now, workers), previous.models.get(key))
            )
    named = frozenset().union(*(each for now in by_model.values() for each in now.replicas), leaving)
    return Routes(
        models=models,
        workers=_routed_workers(named, frozenset(leaving), workers, updated, previous),
        published=frozenset(models),
        by_model=by_model,
        instances=workers,
        leaving=frozenset(leaving),
    )


def _reused(model: RoutedModel, before: RoutedModel | None) -> RoutedModel:
    """Returns the message of before where the new one is equal, so that gateways are not sent it again."""
    return before if before is not None and before == model else model


def _routed_workers(
    named: frozenset[WorkerId],
    leaving: frozenset[WorkerId],
    workers: Mapping[WorkerId, Instance],
    updated: Set[WorkerId],
    previous: Routes,
) -> Mapping[WorkerId, RoutedWorker]:
    """Returns the messages of the workers that are named."""
    published = previous.workers
    removed = published.keys() - named
    changed = (named & updated) | (named - published.keys()) | (named & (leaving ^ previous.leaving))
    if not removed and not changed:
        return published
    messages = dict(published)
    for id_ in removed:
        del messages[id_]
    for id_ in changed:
        message = RoutedWorker(
            worker=id_,
            tags=workers[id_].tags,
            attributes=workers[id_].attributes,
            leaving=id_ in leaving,
        )
        if messages.get(id_) != message:
            messages[id_] = message
    return messages


def _process(instance: Instance | None) -> tuple[str, int] | None:
    return None if instance is None else (instance.address, instance.generation)
