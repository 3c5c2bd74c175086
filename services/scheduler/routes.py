"""What gateways are told: deployments and who serves them in, route table out. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from onnxmesh.discovery.base import Instance
from onnxmesh.ids import ModelName, StageKey, Version, WorkerId, stage_key
from onnxmesh.state.base import Deployment
from onnxmesh.v1.mesh_pb2 import RoutedModel, RoutedReplica, RoutedStage, RoutedWorker
from onnxmesh.v1.model_pb2 import Plan
from services.scheduler.wanted import ModelKey


@dataclass(frozen=True, slots=True)
class Routes:
    """The models of a route table.

    Attributes:
        models: In order of name and version.
        appeared: Which they are: once complete, a model stays for as long as it is deployed.
        workers: What the workers that they name, or that leave, say of themselves, in order of id.
    """

    models: tuple[RoutedModel, ...] = ()
    appeared: frozenset[ModelKey] = frozenset()
    workers: tuple[RoutedWorker, ...] = ()


def build_routes(
    deployments: Iterable[Deployment],
    routed: Mapping[StageKey, tuple[WorkerId, ...]],
    workers: Mapping[WorkerId, Instance],
    appeared: frozenset[ModelKey],
    leaving: Collection[WorkerId] = (),
    percents: Callable[[ModelName], Mapping[Version, int]] = lambda _: {},
) -> Routes:
    """Returns the models that gateways may route to, and with whom.

    Args:
        deployments: Everything that is to be served.
        routed: For each stage the workers that serve it.
        workers: How to reach each of them.
        appeared: Models that were complete before; they stay, if need be with stages that have no replica.
        leaving: Workers that are being emptied of all, or of their last stage: what they were sent is still answered.
        percents: Returns what each version of a model gets of the traffic; empty: they do not share it.
    """
    models, shown = [], set()
    for deployment in sorted(deployments, key=lambda each: (each.name, each.version)):
        key = (deployment.name, deployment.version)
        stages = [
            _stage(stage_key(*key, partition.index, deployment.plan.revision), direct, routed, workers)
            for partition, direct in zip(
                deployment.plan.partitions, inputs_by_stage(deployment.plan), strict=True
            )
        ]
        if key in appeared or all(stage.replicas for stage in stages):
            shown.add(key)
            models.append(
                RoutedModel(
                    name=deployment.name,
                    version=deployment.version,
                    signature=deployment.plan.signature,
                    stages=stages,
                    traffic_percent=percents(deployment.name).get(deployment.version),
                )
            )
    named = {replica.worker for model in models for stage in model.stages for replica in stage.replicas}
    described = [
        RoutedWorker(
            worker=id_,
            tags=workers[WorkerId(id_)].tags,
            attributes=workers[WorkerId(id_)].attributes,
            leaving=id_ in leaving,
        )
        for id_ in sorted(named.union(leaving))
    ]
    return Routes(tuple(models), frozenset(shown), tuple(described))


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


def _stage(
    key: StageKey,
    direct_inputs: Iterable[str],
    routed: Mapping[StageKey, tuple[WorkerId, ...]],
    workers: Mapping[WorkerId, Instance],
) -> RoutedStage:
    replicas = [
        RoutedReplica(worker=id_, address=workers[id_].address, generation=workers[id_].generation)
        for id_ in routed.get(key, ())
    ]
    return RoutedStage(stage=key, replicas=replicas, direct_inputs=direct_inputs)
