"""Models are replanned when workers join or leave."""

from __future__ import annotations

import asyncio

from onnxmesh.errors import InvalidModel
from onnxmesh.model.device_speed import DeviceSpeed
from services.scheduler.app import scheduler_app
from services.scheduler.workers.memory import RESERVE_BYTES
from tests.eventually import eventually
from tests.fakes.fake_worker import FakeWorker
from tests.integration.scheduler.scheduler_client import SchedulerClient


def facts(kind, flops_per_s=50e9, memory=None, **more):
    """Attributes of a worker that has measured itself."""
    speed = DeviceSpeed(flops_per_s=flops_per_s).to_plain()
    attributes = {"device.kind": kind, "cpu.class": "x86"} | {
        f"speed.{name}": str(v) for name, v in speed.items()
    }
    return attributes | ({} if memory is None else {"memory.bytes": str(memory + RESERVE_BYTES)}) | more


FAST, SLOW = facts("cpu-fast-1t", 70e9), facts("cpu-slow-1t", 10e9)


def num_nodes(model):
    return [partition.num_nodes for partition in model.plan.partitions]


async def the_model(client):
    (model,) = (await client.status()).models
    return model


async def until(client, condition):
    """Waits until the one model's status meets a condition; returns it."""
    status = await client.until(lambda status: condition(*status.models))
    return status.models[0]


async def test_replanner_uses_a_new_worker_without_a_gap(mesh, tmp_path):
    """Two stages become three; every table in between is complete; the old stages are evicted when the new ones serve."""
    async with mesh("a", "b", attributes=dict.fromkeys("ab", FAST), replan_after_s=0.05) as (client, a, b):
        assert num_nodes(await client.deploy()) == [4, 4]
        await eventually(lambda: client.routes)
        first = len(client.tables) - 1
        async with FakeWorker("c", client.address, tmp_path, attributes=FAST) as c:
            model = await until(client, lambda model: model.plan.revision == 1)
            assert len(num_nodes(model)) == 3
            await eventually(lambda: [len(w.held) for w in (a, b, c)] == [1, 1, 1])
            await client.caught_up()
            assert all(key.startswith("m/1.1/") for w in (a, b, c) for key in w.held)
            for table in client.tables[first:]:
                assert all(stage.replicas for stage in table.models[0].stages)
            stages = [[stage.stage for stage in table.models[0].stages] for table in client.tables[first:]]
            old, new = ["m/1/0", "m/1/1"], ["m/1.1/0", "m/1.1/1", "m/1.1/2"]
            assert stages == sorted(stages, key=len)
            assert {tuple(each) for each in stages} == {tuple(old), tuple(new)}
            assert model.state == "READY"


async def test_replanner_considers_a_deployment_that_was_being_loaded_when_the_workers_changed(
    mesh, tmp_path
):
    """As soon as it is deployed, though the workers have stayed the same since."""
    async with mesh("a", attributes={"a": FAST}, replan_after_s=0.0) as (client, a):
        a.loading.clear()
        deploying = asyncio.ensure_future(client.deploy())
        await eventually(lambda: "place m/1/0" in a.commands)
        async with FakeWorker("b", client.address, tmp_path, attributes=FAST) as b:
            await client.joined(b)
            a.loading.set()
            assert len(num_nodes(await deploying)) == 1
            await client.until(lambda status: status.models[0].plan.revision == 1)


async def test_replanner_saves_the_new_plan(settings, tmp_path, blobs):
    """Its partitions are kept; those of the plan before are removed."""
    settings = settings.model_copy(update={"replan_after_s": 0.05})
    async with (
        scheduler_app(settings) as serving,
        SchedulerClient(serving.address) as client,
        FakeWorker("a", serving.address, tmp_path, attributes=FAST) as a,
    ):
        await client.joined(a)
        assert num_nodes(await client.deploy()) == [8]
        async with FakeWorker("b", serving.address, tmp_path, attributes=FAST):
            model = await until(client, lambda model: model.plan.revision == 1)
            kept = {p.artefact.files[0].sha256 for p in model.plan.partitions}
            await eventually(lambda: len(blobs() - kept) == 1)
            source = blobs() - kept
    async with scheduler_app(settings) as serving, SchedulerClient(serving.address) as client:
        model = await the_model(client)
        assert model.plan.revision == 1
        assert blobs() == kept | source


async def test_replanner_ignores_a_small_gain(mesh, tmp_path):
    """A worker that hardly helps leaves everything as it is; nothing is prepared."""
    slowest = facts("cpu-old-1t", 1e9)
    async with mesh("a", attributes={"a": FAST}, replan_after_s=0.02) as (client, a):
        await client.deploy()
        commands, calls = list(a.commands), a.calls.count("Prepare")
        async with FakeWorker("b", client.address, tmp_path, attributes=slowest) as b:
            await client.joined(b)
            await eventually(lambda: "MeasureLinks" in b.calls)
            assert (await the_model(client)).plan.revision == 0
            assert (a.commands, a.calls.count("Prepare"), b.commands) == (commands, calls, [])


async def test_replanner_follows_placement_when_a_kind_of_worker_leaves(mesh):
    """First the stage is placed on the worker that remains; then the model is planned for it."""
    async with mesh("a", "b", attributes={"a": FAST, "b": SLOW}, replan_after_s=0.05) as (client, a, b):
        assert len(num_nodes(await client.deploy(stages=0, replicas=1))) == 2
        await b.die()
        model = await until(client, lambda model: model.plan.revision == 1)
        assert num_nodes(model) == [8]
        await eventually(lambda: client.routes == {"m/1": [{"a"}]})
        assert any(command.startswith("place m/1/") for command in a.commands)


async def test_replanner_moves_stages_only_where_the_cut_is_the_same(mesh, tmp_path):
    """Nothing is prepared or cut; the plan names the new kind."""
    async with mesh("a", attributes={"a": SLOW}, replan_after_s=0.05) as (client, a):
        await client.deploy(stages=8)
        prepared = a.calls.count("Prepare")
        async with FakeWorker("b", client.address, tmp_path, attributes=facts("cpu-slow-2t", 10e9)) as b:
            model = await until(
                client, lambda m: {d.kind for p in m.plan.partitions for d in p.devices} != {"cpu-slow-1t"}
            )
            assert model.plan.revision == 0
            assert a.calls.count("Prepare") == prepared
            assert "Prepare" not in b.calls
            await eventually(lambda: len(a.held) == len(b.held) == 4)


async def test_replanner_keeps_the_plan_in_force_when_the_new_one_cannot_be_loaded(mesh, tmp_path, blobs):
    """Status says why; nothing of it is left; it is tried again when the next worker comes."""
    async with mesh("a", attributes={"a": FAST}, replan_after_s=0.05) as (client, a):
        await client.deploy()
        before = blobs()
        async with FakeWorker("b", client.address, tmp_path, attributes=FAST) as b:
            for worker in (a, b):
                worker.fail = {f"m/1.1/{i}": InvalidModel("no such kernel") for i in range(8)}
            model = await until(client, lambda model: model.reason)
            assert "replanning failed: stage 'm/1.1/" in model.reason
            assert "no such kernel" in model.reason
            assert (model.state, model.plan.revision) == ("READY", 0)
            await eventually(lambda: client.routes == {"m/1": [{"a"}]} and not b.held and blobs() == before)
            for worker in (a, b):
                worker.fail = {}
            async with FakeWorker("c", client.address, tmp_path, attributes=FAST):
                model = await until(client, lambda model: model.plan.revision == 1)
                assert model.reason == ""


async def test_replanner_keeps_the_plan_in_force_without_memory_for_the_new_one(mesh, tmp_path):
    """Status says how much memory is lacking; nothing of the new plan is left."""
    roomy = facts("cpu-fast-1t", 70e9, memory=150)
    async with mesh("a", attributes={"a": roomy}, replan_after_s=0.05) as (client, a):
        a.working_bytes = 100
        await client.deploy()
        tight = facts("cpu-other-1t", 70e9, memory=100)
        async with FakeWorker("b", client.address, tmp_path, attributes=tight) as b:
            b.working_bytes = 100
            model = await until(client, lambda model: model.reason)
            assert "there is no memory to load it beside what is served: m/1.1/" in model.reason
            assert (model.state, model.plan.revision) == ("READY", 0)
            await eventually(lambda: list(a.held) == ["m/1/0"] and not b.held)


async def test_replanner_replaces_a_plan_that_answers_nothing(mesh, tmp_path):
    """Half a pipeline that no worker can complete is evicted for one that fits."""
    roomy = facts("cpu-fast-1t", 70e9, memory=250)
    async with mesh("a", "b", attributes={"a": SLOW, "b": roomy}, replan_after_s=0.3) as (client, a, b):
        for worker in (a, b):
            worker.working_bytes = 240
        model = await client.deploy(stages=2)
        assert client.routes is not None
        on_a = client.routes["m/1"].index({"a"})
        await a.die()
        lacking = await until(client, lambda model: "lacks" in model.reason)
        assert lacking.reason.startswith(f"stage {on_a} has no replica: no worker has the memory for it")
        small = facts("cpu-small-1t", 10e9, memory=240)
        async with FakeWorker("c", client.address, tmp_path, attributes=small):
            model = await until(client, lambda model: model.state == "READY")
            assert len(model.plan.partitions) == 2


async def test_undeploy_removes_both_plans_while_the_new_one_is_loaded(mesh, tmp_path, blobs):
    """Neither the old stages nor the new ones stay."""
    async with mesh("a", attributes={"a": FAST}, replan_after_s=0.05) as (client, a):
        await client.deploy()
        async with FakeWorker("b", client.address, tmp_path, attributes=FAST) as b:
            b.loading.clear()
            await eventually(lambda: b.commands)
            await client.undeploy("m")
            b.loading.set()
            await eventually(lambda: not a.held and not b.held and not blobs() and client.routes == {})


async def test_replanner_ignores_a_model_with_one_fixed_stage(mesh, tmp_path):
    """There is nothing to choose."""
    async with mesh("a", attributes={"a": SLOW}, replan_after_s=0.02) as (client, _a):
        await client.deploy(stages=1)
        await client.deploy(b"other", name="n")
        async with FakeWorker("b", client.address, tmp_path, attributes=FAST):
            status = await client.until(lambda status: status.models[1].plan.revision > 0)
            assert status.models[0].plan.revision == 0
