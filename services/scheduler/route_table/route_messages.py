"""Messages of the route table: one model and its stages, as gateways get them. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from onnxmesh.discovery.instance import Instance
from onnxmesh.ids import WorkerId
from onnxmesh.v1.mesh_pb2 import RoutedModel, RoutedReplica, RoutedStage, Splitting
from onnxmesh.v1.model_pb2 import Plan
from services.scheduler.route_table.model_routes import ModelRoutes


def model_message(routes: ModelRoutes, workers: Mapping[WorkerId, Instance]) -> RoutedModel:
    """Returns the message of a model.

    Args:
        routes: Its stages, and the workers that serve them.
        workers: Those workers; others are ignored.
    """
    plan = routes.deployment.plan
    return RoutedModel(
        name=routes.deployment.name,
        version=routes.deployment.version,
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
            for key, replicas, direct in zip(
                routes.stages, routes.replicas, inputs_by_stage(plan), strict=True
            )
        ],
        traffic_percent=routes.percent,
        splitting=splitting(plan),
    )


def inputs_by_stage(plan: Plan) -> list[list[str]]:
    """Returns for each stage which of the model's inputs the gateway sends to it.

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
    """Returns how requests may be split by rows and their results concatenated; None where a stage forbids it."""
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
