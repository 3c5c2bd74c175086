"""What a survey counts as free."""

from __future__ import annotations

from onnxmesh.ids import Digest, WorkerId
from onnxmesh.model.cut_mode import CutMode
from onnxmesh.model.optimisation_level import OptimisationLevel
from onnxmesh.state.base import Deployment
from onnxmesh.v1.model_pb2 import Artefact, DeploymentSpec, Partition, Plan
from services.scheduler.planning.surveyor import Surveyor
from services.scheduler.workers.eligibility import Eligible
from services.scheduler.workers.holdings import Held, HoldingState
from services.scheduler.workers.memory import RESERVE_BYTES
from services.scheduler.workers.worker_view import WorkerView
from tests.unit.scheduler.decision_tables import worker


class Fleet:
    """One worker that holds a stage of each of two models."""

    def views(self):
        held = {key: Held(HoldingState.READY, Digest("d")) for key in ("m/1/0", "n/1/0")}
        return [WorkerView(WorkerId("a"), stages=held)]


class Catalogue:
    """The two models, of 10 and 20 bytes."""

    def __init__(self):
        self.standby = {}
        self.deployments = {
            (name, 1): Deployment(
                DeploymentSpec(name=name, version=1, replicas=1),
                Plan(partitions=[Partition(peak_bytes=size)]),
                Artefact(),
            )
            for name, size in (("m", 10), ("n", 20))
        }


class Links:
    """No link is measured."""

    async def links(self, kinds):
        return {}


async def test_surveyor_counts_the_memory_of_the_planned_model_as_free():
    instance = worker("a", memory_bytes=str(100 + RESERVE_BYTES))
    eligible = Eligible((instance,), CutMode.EXACT, OptimisationLevel.NONE)
    surveyor = Surveyor(Fleet(), Catalogue(), Links())
    free = {
        model: (await surveyor.survey(eligible, model)).kinds[0].device.memory_bytes
        for model in (None, ("m", 1), ("n", 1))
    }
    assert free == {None: 70, ("m", 1): 80, ("n", 1): 90}
