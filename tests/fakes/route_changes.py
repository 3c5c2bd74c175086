"""Changes between whole route tables, found by comparing all of them."""

from __future__ import annotations

from onnxmesh.v1 import mesh_pb2


def change_between(before: mesh_pb2.RouteTable, after: mesh_pb2.RouteTable) -> mesh_pb2.RouteChange:
    """Returns the step from one table to another."""
    models = {(each.name, each.version): each for each in before.models}
    workers = {each.worker: each for each in before.workers}
    kept = {(each.name, each.version) for each in after.models}
    listed = {each.worker for each in after.workers}
    return mesh_pb2.RouteChange(
        from_epoch=before.epoch,
        epoch=after.epoch,
        models=[each for each in after.models if models.get((each.name, each.version)) != each],
        removed_models=[mesh_pb2.ModelVersion(name=n, version=v) for n, v in sorted(models.keys() - kept)],
        workers=[each for each in after.workers if workers.get(each.worker) != each],
        removed_workers=sorted(workers.keys() - listed),
    )


def changed(table: mesh_pb2.RouteTable, update: mesh_pb2.RouteUpdate) -> mesh_pb2.RouteTable:
    """Returns the table that a message makes of another."""
    if update.WhichOneof("kind") == "whole":
        return update.whole
    change = update.change
    assert change.from_epoch == table.epoch
    models = {(each.name, each.version): each for each in (*table.models, *change.models)}
    workers = {each.worker: each for each in (*table.workers, *change.workers)}
    for removed in change.removed_models:
        del models[removed.name, removed.version]
    for removed in change.removed_workers:
        del workers[removed]
    return mesh_pb2.RouteTable(epoch=change.epoch, models=models.values(), workers=workers.values())
