"""What a scheduler has for one term."""

from __future__ import annotations

from onnxmesh.latest import Latest
from onnxmesh.live.embedded import EmbeddedLiveState
from onnxmesh.state.base import Deployment
from onnxmesh.state.embedded import open_deployments
from onnxmesh.store.artefact import artefact_of
from onnxmesh.store.blobs import BlobFolder
from onnxmesh.v1.model_pb2 import DeploymentSpec, File, Plan
from services.scheduler.deployments.retention import Retention
from services.scheduler.leadership.leader_context import leader_context
from services.scheduler.leadership.shared_resources import SharedResources
from services.scheduler.settings import SchedulerSettings


async def test_leader_context_restores_deployments_and_leaves_their_blobs(tmp_path):
    """The next term finds them again."""
    blobs = BlobFolder(tmp_path / "blobs")
    retention = Retention(blobs)
    with blobs.writer() as writer:
        writer.write(b"model")
        sha256, size = writer.commit()
    source = artefact_of([File(path="m.onnx", sha256=sha256, byte_size=size)])
    async with open_deployments(tmp_path) as store:
        await store.save(Deployment(DeploymentSpec(name="m", version=1), Plan(), source))
        shared = SharedResources(
            settings=SchedulerSettings().for_leader(),
            store=store,
            directory=Latest({}),
            blobs=blobs,
            retention=retention,
            address="127.0.0.1:1",
            live=EmbeddedLiveState("s"),
        )
        for term in (1, 2):
            async with leader_context(shared, term, 100 * term) as context:
                assert list(context.catalogue.deployments) == [("m", 1)]
                assert context.publisher.table.epoch == 100 * term
                assert retention.holds(sha256)
            assert not retention.holds(sha256)
            assert set(blobs.digests()) == {sha256}
