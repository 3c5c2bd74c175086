"""Models are planned by what the workers are, and cut by them."""

from __future__ import annotations

import pytest

from onnxmesh.errors import CorruptData, Internal, InvalidPlan, Unsatisfiable
from onnxmesh.model.device_speed import DeviceSpeed
from onnxmesh.v1.model_pb2 import Shape, Shapes
from services.scheduler.workers.memory import RESERVE_BYTES
from tests.eventually import eventually


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


async def test_plan_gives_the_faster_worker_the_larger_part(mesh):
    """Seven times as fast: seven of eight nodes; the plan names the kinds of workers, and placement follows it."""
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


async def test_plan_prefers_measured_times_to_estimates(mesh):
    """A profile of the worker that prepares says how long nodes take there."""
    async with mesh("a", "b", attributes={"a": SLOW, "b": SLOW}, profile_s=1.5) as (client, a, b):
        for worker in (a, b):
            worker.profile = 0.25
        model = await client.deploy(stages=2)
        assert model.plan.predicted_period_s == pytest.approx(1.0, rel=0.01)
        assert [request.profile_s for request in (a.requests + b.requests)] == [1.5]


async def test_preparation_gets_mode_shapes_and_objective_of_the_spec(mesh):
    """They are part of the request to the worker, and of the plan."""
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


LOCALE = "locale.en_US.utf8"
CAPABLE = {"b": {LOCALE: "installed"}}


async def test_preparation_goes_to_workers_that_have_what_the_model_requires(mesh):
    """The first worker finds that it lacks a locale; plan and placement use those that report it, and no other."""
    async with mesh("a", "b", "c", attributes=CAPABLE) as (client, a, b, c):
        for each in (a, b, c):
            each.require = (LOCALE,)
        a.lacking = c.lacking = "node 'n' needs a locale"
        model = await client.deploy(stages=1)
        assert [each.calls.count("Prepare") for each in (a, b, c)] == [1, 1, 0]
        assert list(model.plan.require) == [LOCALE]
        assert not model.spec.require
        await eventually(lambda: client.routes)
        assert client.routes["m/1"] == [{"b"}]
        assert not a.held
        assert not c.held


async def test_preparation_without_a_capable_worker_tells_what_to_install(mesh):
    """Only one worker prepares: the others report no such locale either."""
    async with mesh("a", "c") as (client, a, c):
        for each in (a, c):
            each.require, each.lacking = (LOCALE,), "node 'n' needs a locale: install it"
        with pytest.raises(Unsatisfiable, match="which the model requires: node 'n' needs a locale: install"):
            await client.deploy(stages=1)
        assert len(a.requests + c.requests) == 1


async def test_preparation_needs_as_many_capable_workers_as_replicas(mesh):
    """The message counts those that report the locale."""
    async with mesh("a", "b", attributes=CAPABLE) as (client, a, b):
        a.require = b.require = (LOCALE,)
        with pytest.raises(
            Unsatisfiable, match=r"2 replicas .*; 1 .* with 'locale\.en_US\.utf8' can run them: b"
        ):
            await client.deploy(stages=1, replicas=2)


async def test_preparation_reports_a_defect_of_a_worker_with_its_incident(mesh):
    """The message names the worker, whose log has the rest, and nothing of the exception."""
    async with mesh("a") as (client, a):
        a.refuse[b"weights"] = KeyError("secret")
        with pytest.raises(Internal, match=r"worker 'a': internal error, incident [0-9a-f]{32}") as caught:
            await client.deploy(stages=1)
        assert "secret" not in caught.value.message


async def test_preparation_verifies_the_cut_on_every_class_of_device(mesh):
    """They must cut the same; the largest difference of all is kept."""
    gpu = facts("cuda-NVIDIA-L4", 50e9, device="cuda", **{"gpu.model": "NVIDIA L4"})
    async with mesh("a", "b", attributes={"a": FAST, "b": gpu}) as (client, a, b):
        a.largest_difference, b.largest_difference = 1e-6, 3e-6
        model = await client.deploy(stages=2)
        assert model.plan.mode == "portable"
        assert model.plan.largest_difference == 3e-6
        assert [worker.calls.count("Cut") for worker in (a, b)] == [1, 1]
        assert a.held and b.held


async def test_preparation_refuses_workers_that_cut_differently(mesh, blobs):
    """Nothing is deployed, and the message names both."""
    gpu = facts("cuda-NVIDIA-L4", 50e9, device="cuda")
    async with mesh("a", "b", attributes={"a": FAST, "b": gpu}) as (client, _a, b):
        b.salt = b"other "
        with pytest.raises(CorruptData, match="workers 'a' and 'b' cut the model differently"):
            await client.deploy(stages=2)
        assert b.calls.count("Cut") == 1
        await eventually(lambda: not blobs())


async def test_plan_chooses_replicas_where_the_spec_leaves_that_open(mesh):
    """One model over three workers alike: every one of them is used."""
    async with mesh("a", "b", "c", attributes=dict.fromkeys("abc", FAST)) as (client, *_):
        model = await client.deploy(replicate=True)
        used = {replica.worker for replica in model.replicas}
        assert used == {"a", "b", "c"}
        await eventually(lambda: client.routes)
        assert set().union(*client.routes["m/1"]) == used


async def test_plan_of_a_model_without_enough_memory_is_refused(mesh, blobs):
    """What binds is in the message; memory that other models hold is not there."""
    async with mesh("a", attributes={"a": facts("cpu-x-1t", memory=10)}) as (client, a):
        a.working_bytes = 100
        with pytest.raises(InvalidPlan, match="fits no device"):
            await client.deploy()
        assert not blobs()


async def test_deploy_on_workers_that_share_too_little_memory_is_refused_at_once(mesh, blobs):
    """Each could hold its stage, both together cannot: the deploy reports it and leaves nothing."""
    shared = facts("cpu-x-1t", memory=150, host="h")
    async with mesh("a", "b", attributes={"a": shared, "b": shared}) as (client, a, b):
        for worker in (a, b):
            worker.working_bytes = 100
        with pytest.raises(Unsatisfiable, match=r"no worker has the memory for every stage: m/1/1 lacks"):
            await client.deploy(stages=2)
        await eventually(lambda: not blobs() and not a.held and not b.held)
