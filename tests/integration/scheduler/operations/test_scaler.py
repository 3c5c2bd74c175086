"""Scaling through the real gRPC service, with fake workers."""

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


async def test_scale_goes_up_and_down_and_is_saved(settings, tmp_path):
    """No table is without a replica; the number outlives the scheduler, and is part of the spec."""
    async with (
        scheduler_app(settings) as serving,
        SchedulerClient(serving.address) as client,
        MeshClient(serving.address) as asking,
        FakeWorker("a", serving.address, tmp_path) as a,
        FakeWorker("b", serving.address, tmp_path) as b,
    ):
        await client.joined(a, b)
        await client.deploy(stages=2)
        first = len(client.tables) - 1
        scaled = await asking.scale("m", 2)
        assert (scaled.spec.replicas, len(scaled.replicas)) == (2, 4)
        await eventually(lambda: client.routes == {"m/1": [{"a", "b"}] * 2})
        assert (await client.deploy(stages=2, replicas=2)).version == 1
        assert (await client.deploy(stages=2)).version == 2
        await asking.scale("m", 1, version=1)
        await eventually(lambda: [len(stage) for stage in client.routes["m/1"]] == [1, 1])
        tables = [model for table in client.tables[first:] for model in table.models if model.version == 1]
        assert all(stage.replicas for model in tables for stage in model.stages)
    async with scheduler_app(settings) as serving, SchedulerClient(serving.address) as client:
        assert [model.spec.replicas for model in (await client.status()).models] == [1, 1]


async def test_scale_refuses_an_impossible_number_and_changes_nothing(mesh):
    """Too many, none, more than workers; and what a worker refuses is taken back."""
    async with mesh("a", "b") as (client, a, b), MeshClient(client.address) as asking:
        await client.deploy(stages=1)
        for replicas, error in ((0, InvalidRequest), (257, InvalidRequest), (3, Unsatisfiable)):
            with pytest.raises(error):
                await asking.scale("m", replicas)
        other = b if a.held else a
        other.fail["m/1/0"] = InvalidModel("not on this machine")
        with pytest.raises(InvalidModel, match="not on this machine"):
            await asking.scale("m", 2)
        assert (await client.status()).models[0].spec.replicas == 1
        with pytest.raises(NotFound, match="no version 4"):
            await asking.scale("m", 1, version=4)


async def test_scale_sets_the_least_number_where_the_plan_chooses(mesh):
    async with mesh("a", "b") as (client, _a, _b), MeshClient(client.address) as asking:
        deployed = await client.deploy(replicate=True, stages=1)
        chosen = len(deployed.replicas)
        for replicas in (1, 2):
            scaled = await asking.scale("m", replicas)
            assert len(scaled.replicas) >= max(replicas, min(chosen, 2))
