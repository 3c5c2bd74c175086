"""The mesh plans by what its workers are, and anew when they come or go."""

from __future__ import annotations

import pytest

from onnxmesh.errors import CorruptData, InvalidModel, InvalidPlan, Unsatisfiable
from onnxmesh.model.device_speed import DeviceSpeed
from onnxmesh.v1.model_pb2 import Shape, Shapes
from services.scheduler.app import scheduler_app
from services.scheduler.workers.memory import RESERVE_BYTES
from tests.eventually import eventually
from tests.fakes.fake_worker import FakeWorker
from tests.integration.scheduler.scheduler_client import SchedulerClient


def facts(kind, flops_per_s=50e9, memory=None, **more):
    """Attributes of a worker that has measured itself."""
    speed = DeviceSpeed(flops_per_s=flops_per_s).to_plain()
    said = {"device.kind": kind, "cpu.class": "x86"} | {f"speed.{name}": str(v) for name, v in speed.items()}
    return said | ({} if memory is None else {"memory.bytes": str(memory + RESERVE_BYTES)}) | more


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


async def test_the_faster_worker_gets_the_larger_part(mesh):
    """Seven times as fast: seven of eight nodes; the plan says who is meant, and placement honours it."""
    async with mesh("a", "b", attributes={"a": SLOW, "b": FAST}) as (client, a, _b):
        model = await client.deploy(stages=2)
        assert sorted(num_nodes(model)) == [1, 7]
        large = num_nodes(model).index(7)
        await eventually(lambda: client.routes)
        assert client.routes["m/1"][large] == {"b"}
        assert client.routes["m/1"][1 - large] == {"a"}
        kinds = [[(d.kind, d.count, list(d.workers)) for d in p.devices] for p in model.plan.partitions]
        assert kinds[large] == [("cpu-fast-1t", 1, ["b"])]
        assert model.plan.predicted_period_s == pytest.approx(0.1, rel=0.05)
        assert model.plan.why
        assert a.calls.count("MeasureLinks") == 1


async def test_what_was_measured_counts_more_than_what_is_estimated(mesh):
    """A profile of the worker that prepares says how long nodes take there."""
    async with mesh("a", "b", attributes={"a": SLOW, "b": SLOW}, profile_s=1.5) as (client, a, b):
        for worker in (a, b):
            worker.profile = 0.25
        model = await client.deploy(stages=2)
        assert model.plan.predicted_period_s == pytest.approx(1.0, rel=0.01)
        assert [request.profile_s for request in (a.requests + b.requests)] == [1.5]


async def test_mode_shapes_and_objective_reach_worker_and_plan(mesh):
    """A deployment's wish is what is prepared and planned for."""
    async with mesh("a", profile_s=0.0) as (client, a):
        shapes = Shapes(batch=4, inputs={"x": Shape(dims=[4, 3])})
        model = await client.deploy(stages=1, mode="portable", objective="latency", shapes=shapes)
        (request,) = a.requests
        assert (request.mode, request.optimisation, request.profile_s) == ("portable", "none", 0.0)
        assert request.shapes == shapes
        assert model.plan.mode == "portable"
        assert [partition.load_optimisation for partition in model.plan.partitions] == ["all"]
        assert not model.plan.cpu_class
        assert model.spec.objective == "latency"


async def test_with_a_gpu_every_class_of_device_checks_the_cut(mesh):
    """They must cut the same; the largest difference of all is kept."""
    gpu = facts("cuda-NVIDIA-L4", 50e9, device="cuda", **{"gpu.model": "NVIDIA L4"})
    async with mesh("a", "b", attributes={"a": FAST, "b": gpu}) as (client, a, b):
        a.largest_difference, b.largest_difference = 1e-6, 3e-6
        model = await client.deploy(stages=2)
        assert model.plan.mode == "portable"
        assert model.plan.largest_difference == 3e-6
        assert [worker.calls.count("Cut") for worker in (a, b)] == [1, 1]
        assert a.held and b.held


async def test_workers_that_cut_differently_are_found_out(mesh, blobs):
    """Nothing is deployed, and the message names both."""
    gpu = facts("cuda-NVIDIA-L4", 50e9, device="cuda")
    async with mesh("a", "b", attributes={"a": FAST, "b": gpu}) as (client, _a, b):
        b.salt = b"other "
        with pytest.raises(CorruptData, match="workers 'a' and 'b' cut the model differently"):
            await client.deploy(stages=2)
        assert b.calls.count("Cut") == 1
        await eventually(lambda: not blobs())


async def test_replicas_are_chosen_where_that_is_left_to_the_mesh(mesh):
    """One model over three workers alike: every one of them is used."""
    async with mesh("a", "b", "c", attributes=dict.fromkeys("abc", FAST)) as (client, *_):
        model = await client.deploy(replicate=True)
        used = {replica.worker for replica in model.replicas}
        assert used == {"a", "b", "c"}
        await eventually(lambda: client.routes)
        assert set().union(*client.routes["m/1"]) == used


async def test_a_model_that_fits_nowhere_is_refused(mesh, blobs):
    """What binds is in the message; memory that other models hold is not there."""
    async with mesh("a", attributes={"a": facts("cpu-x-1t", memory=10)}) as (client, a):
        a.working_bytes = 100
        with pytest.raises(InvalidPlan, match="fits no device"):
            await client.deploy()
        assert not blobs()


async def test_workers_that_share_too_little_memory_are_found_out_at_once(mesh, blobs):
    """Each could hold its stage, both together cannot: the deploy says so and leaves nothing."""
    shared = facts("cpu-x-1t", memory=150, host="h")
    async with mesh("a", "b", attributes={"a": shared, "b": shared}) as (client, a, b):
        for worker in (a, b):
            worker.working_bytes = 100
        with pytest.raises(Unsatisfiable, match=r"no worker has the memory for every stage: m/1/1 lacks"):
            await client.deploy(stages=2)
        await eventually(lambda: not blobs() and not a.held and not b.held)


async def test_a_worker_that_comes_has_models_planned_anew_without_a_gap(mesh, tmp_path):
    """Two stages become three; every table on the way is complete; the old stages go when the new ones answer."""
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


async def test_a_plan_made_anew_outlives_the_scheduler(settings, tmp_path, blobs):
    """Its partitions are the ones that are kept; those before are gone."""
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


async def test_a_small_gain_is_not_worth_the_change(mesh, tmp_path):
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


async def test_a_kind_that_goes_has_its_stages_taken_over_at_once_and_planned_anew_after(mesh):
    """First the stage lands on whoever is there; then the plan is made for those who are."""
    async with mesh("a", "b", attributes={"a": FAST, "b": SLOW}, replan_after_s=0.05) as (client, a, b):
        assert len(num_nodes(await client.deploy(stages=0, replicas=1))) == 2
        await b.die()
        model = await until(client, lambda model: model.plan.revision == 1)
        assert num_nodes(model) == [8]
        await eventually(lambda: client.routes == {"m/1": [{"a"}]})
        assert any(command.startswith("place m/1/") for command in a.commands)


async def test_the_same_cut_for_other_workers_moves_stages_only(mesh, tmp_path):
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


async def test_a_plan_that_cannot_be_carried_out_leaves_what_is_served(mesh, tmp_path, blobs):
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


async def test_what_is_served_stays_where_there_is_no_room_for_a_new_plan_beside_it(mesh, tmp_path):
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


async def test_what_answers_nothing_makes_room_for_a_new_plan(mesh, tmp_path):
    """Half a chain that nobody can complete is let go for one that fits."""
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


async def test_undeploying_while_a_new_plan_is_loaded_takes_both_away(mesh, tmp_path, blobs):
    """Neither the old stages nor the new ones stay."""
    async with mesh("a", attributes={"a": FAST}, replan_after_s=0.05) as (client, a):
        await client.deploy()
        async with FakeWorker("b", client.address, tmp_path, attributes=FAST) as b:
            b.loading.clear()
            await eventually(lambda: b.commands)
            await client.undeploy("m")
            b.loading.set()
            await eventually(lambda: not a.held and not b.held and not blobs() and client.routes == {})


async def test_a_model_whose_stages_are_fixed_to_one_is_left_alone(mesh, tmp_path):
    """There is nothing to choose."""
    async with mesh("a", attributes={"a": SLOW}, replan_after_s=0.02) as (client, _a):
        await client.deploy(stages=1)
        await client.deploy(b"other", name="n")
        async with FakeWorker("b", client.address, tmp_path, attributes=FAST):
            status = await client.until(lambda status: status.models[1].plan.revision > 0)
            assert status.models[0].plan.revision == 0
