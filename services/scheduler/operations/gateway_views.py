"""Gateway views: ejections and loads that gateways observed, for the status of workers."""

from __future__ import annotations

from collections.abc import Iterable

from onnxmesh.live.base import LiveState, Topic
from onnxmesh.live.ejection_figures import EjectionFigure
from onnxmesh.live.load_figures import read_load
from onnxmesh.v1.mesh_pb2 import Ejection, WorkerStatus


class GatewayViews:
    """Reads what gateways share about workers.

    Args:
        live: Where they share it.
    """

    def __init__(self, live: LiveState) -> None:
        self._live = live

    def add_to(self, workers: Iterable[WorkerStatus]) -> None:
        """Adds to each worker the gateways that ejected it from their routes, and the load that they observed last."""
        ejections: dict[str, list[Ejection]] = {}
        for figures in self._live.figures(Topic.EJECTION).values():
            for figure in figures:
                if (found := EjectionFigure.read(figure)) is not None:
                    ejections.setdefault(found.worker, []).append(
                        Ejection(
                            stage=found.stage,
                            gateway=figure.writer,
                            remaining_ms=round(1000 * found.left_s),
                        )
                    )
        loads = self._live.figures(Topic.LOAD)
        for worker in workers:
            worker.ejections.extend(
                sorted(ejections.get(worker.id, ()), key=lambda each: (each.stage, each.gateway))
            )
            if worker.id in loads:
                worker.observed_load.CopyFrom(read_load(loads[worker.id][0].values))
