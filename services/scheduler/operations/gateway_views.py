"""Gateway views: ejections and loads that gateways observed, for the status of workers."""

from __future__ import annotations

from collections.abc import Iterable

from onnxmesh.live.base import LiveState
from onnxmesh.live.ejection_topic import EjectionCodec
from onnxmesh.live.load_topic import LoadCodec
from onnxmesh.live.shared_topic import SharedTopic
from onnxmesh.v1.mesh_pb2 import Ejection, WorkerStatus


class GatewayViews:
    """Reads what gateways share about workers.

    Args:
        live: Where they share it.
    """

    def __init__(self, live: LiveState) -> None:
        self._ejections = SharedTopic(live, EjectionCodec())
        self._loads = SharedTopic(live, LoadCodec())

    def add_to(self, workers: Iterable[WorkerStatus]) -> None:
        """Adds to each worker the gateways that ejected it from their routes, and the load that they observed last."""
        ejections: dict[str, list[Ejection]] = {}
        for published in self._ejections.received().values():
            for each in published:
                ejections.setdefault(each.item.worker, []).append(
                    Ejection(
                        stage=each.item.stage,
                        gateway=each.writer,
                        remaining_ms=round(1000 * each.item.remaining_s),
                    )
                )
        loads = self._loads.received()
        for worker in workers:
            worker.ejections.extend(
                sorted(ejections.get(worker.id, ()), key=lambda each: (each.stage, each.gateway))
            )
            if worker.id in loads:
                worker.observed_load.CopyFrom(loads[worker.id][0].item.load)
