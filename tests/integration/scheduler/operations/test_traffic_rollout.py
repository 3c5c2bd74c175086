"""Rollouts through the real gRPC service, with fake workers."""

from __future__ import annotations

import pytest

from onnxmesh.client import MeshClient
from onnxmesh.errors import (
    InvalidModel,
    InvalidRequest,
    NotFound,
    Unsatisfiable,
)
from services.scheduler.app import scheduler_app
from tests.eventually import eventually
from tests.fakes.fake_worker import FakeWorker
from tests.integration.scheduler.scheduler_client import SchedulerClient


def percents(client):
    """What each version gets, by the newest table; None: versions do not share."""
    return {
        model.version: model.traffic_percent if model.HasField("traffic_percent") else None
        for model in client.tables[-1].models
    }


async def test_rollout_splits_traffic_from_the_start_or_later_and_is_taken_back(mesh):
    """Gateways and status have it at once, and a new version gets nothing of a split that exists."""
    async with mesh("a") as (client, _a), MeshClient(client.address) as asking:
        await client.deploy(b"one")
        await client.deploy(b"two", traffic_percent=10)
        await eventually(lambda: percents(client) == {1: 90, 2: 10})
        first = next(table for table in client.tables if len(table.models) == 2)
        assert [model.traffic_percent for model in first.models] == [90, 10]
        await client.deploy(b"three")
        await eventually(lambda: percents(client) == {1: 90, 2: 10, 3: 0})
        assert await asking.roll_out("m", 3, 50) == {1: 45, 2: 5, 3: 50}
        assert [model.traffic_percent for model in (await client.status()).models] == [45, 5, 50]
        assert await asking.roll_back("m") == {1: 90, 2: 10, 3: 0}
        with pytest.raises(Unsatisfiable, match="no rollout"):
            await asking.roll_back("m")
        await client.undeploy("m", 1)
        await eventually(lambda: percents(client) == {2: 100, 3: 0})
        await client.undeploy("m", 3)
        await eventually(lambda: percents(client) == {2: None})


async def test_rollout_of_a_version_that_cannot_be_served_changes_no_split(mesh):
    """Though it had its part from the start; with a step back, if there was one."""
    async with mesh("a") as (client, a), MeshClient(client.address) as asking:
        await client.deploy(b"one")
        await client.deploy(b"two", traffic_percent=10)
        a.fail["m/3/0"] = InvalidModel("no")
        with pytest.raises(InvalidModel):
            await client.deploy(b"three", traffic_percent=50)
        await eventually(lambda: percents(client) == {1: 90, 2: 10})
        assert await asking.roll_back("m") == {1: 0, 2: 100}
        await eventually(lambda: percents(client) == {1: None, 2: None})
        with pytest.raises(InvalidModel):
            await client.deploy(b"three", traffic_percent=50)
        await eventually(lambda: percents(client) == {1: None, 2: None})


async def test_rollout_that_cannot_be_is_refused_before_an_upload(mesh):
    async with mesh("a") as (client, _a), MeshClient(client.address) as asking:
        with pytest.raises(InvalidRequest, match="no other version"):
            await client.deploy(b"one", traffic_percent=10)
        assert (await client.deploy(b"one", traffic_percent=100)).version == 1
        assert (await client.deploy(b"two")).version == 2
        assert (await client.deploy(b"two", traffic_percent=20)).version == 2
        assert (await client.status()).models[1].traffic_percent == 20
        with pytest.raises(NotFound, match="no version 7: deployed versions are 1, 2"):
            await asking.roll_out("m", 7)
        with pytest.raises(NotFound, match="model 'n' is not deployed"):
            await asking.roll_out("n", 1)


async def test_rollout_outlives_the_scheduler(settings, tmp_path):
    """With the step back."""
    async with (
        scheduler_app(settings) as serving,
        SchedulerClient(serving.address) as client,
        FakeWorker("a", serving.address, tmp_path) as a,
    ):
        await client.joined(a)
        await client.deploy(b"one")
        await client.deploy(b"two", traffic_percent=10)
    async with scheduler_app(settings) as serving, MeshClient(serving.address) as asking:
        assert [model.traffic_percent for model in (await asking.status()).models] == [90, 10]
        assert await asking.roll_out("m", 1, 30) == {1: 30, 2: 70}
        assert await asking.roll_back("m") == {1: 90, 2: 10}
