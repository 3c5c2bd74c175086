"""A scheduler leads for as long as it is elected."""

from __future__ import annotations

import pytest

from onnxmesh.errors import Unavailable
from onnxmesh.latest import Latest
from onnxmesh.leadership.base import Candidate, Leader, LeaderStatus
from onnxmesh.live.embedded import EmbeddedLiveState
from onnxmesh.state.embedded import open_deployments
from onnxmesh.store.blobs import BlobFolder
from services.scheduler.deployments.retention import Retention
from services.scheduler.leadership.leader_loop import EPOCHS_OF_A_TERM, LeaderLoop
from services.scheduler.leadership.shared_resources import SharedResources
from services.scheduler.publishing.route_relay import RouteRelay
from services.scheduler.settings import SchedulerSettings
from tests.contract.running import running
from tests.eventually import eventually

OWN = "127.0.0.1:1"


@pytest.fixture
async def shared(tmp_path):
    blobs = BlobFolder(tmp_path / "blobs")
    async with open_deployments(tmp_path) as store:
        yield SharedResources(
            settings=SchedulerSettings().for_leader(),
            store=store,
            directory=Latest({}),
            blobs=blobs,
            retention=Retention(blobs),
            address=OWN,
            live=EmbeddedLiveState("s"),
        )


async def test_leader_loop_leads_while_it_is_elected(shared):
    """Its tables, of epochs of its term, are those that its followers get and keep when there is no leader."""
    candidate, relay = Candidate(), RouteRelay("s")
    loop = LeaderLoop(shared, candidate, relay, channels=None)
    async with running(loop.run()):
        assert loop.servicer() is None
        with pytest.raises(Unavailable, match="no scheduler leads"):
            loop.leader()
        candidate.set(LeaderStatus(Leader("s", OWN, 3), is_leader=True))
        await eventually(lambda: relay.epoch == 3 * EPOCHS_OF_A_TERM + 1)
        assert loop.servicer() is loop.context.servicer
        with pytest.raises(Unavailable):
            loop.leader()
        candidate.set(LeaderStatus(None))
        await eventually(lambda: loop.context is None)
        assert relay.epoch == 3 * EPOCHS_OF_A_TERM + 1
