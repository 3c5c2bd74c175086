"""Which worker should hold which stage: tables of decisions."""

from __future__ import annotations

from dataclasses import replace

import pytest

from onnxmesh.ids import Digest, ModelName, StageKey, Version, WorkerId
from services.scheduler.desired.desired_stages import DesiredStage, Home
from services.scheduler.placement.placement import Placement, WorkerView, decide_placement
from services.scheduler.workers.holdings import Held, HoldingState
from services.scheduler.workers.memory import RESERVE_BYTES

READY, LOADING, FAILED, EVICTING = (
    HoldingState.READY,
    HoldingState.LOADING,
    HoldingState.FAILED,
    HoldingState.EVICTING,
)


def model(name, num_stages, **changes):
    return [
        DesiredStage(
            StageKey(f"{name}/1/{i}"), (ModelName(name), Version(1)), Digest(f"{name}{i}"), **changes
        )
        for i in range(num_stages)
    ]


def held(state, stage, **changes):
    name, _, index = stage.split("/")
    return Held(state, Digest(f"{name}{index}"), **changes)


def worker(name, *tags, **stages):
    """`worker("a", m0=READY)` holds stage m/1/0."""
    keys = {f"{key[:-1]}/1/{key[-1]}": state for key, state in stages.items()}
    return WorkerView(
        WorkerId(name),
        frozenset(tags),
        {},
        {StageKey(key): held(state, key) for key, state in keys.items()},
    )


def commands(placement: Placement):
    return (
        sorted(f"{command.worker}+{command.stage}" for command in placement.place),
        sorted(f"{command.worker}-{command.stage}" for command in placement.evict),
    )


TABLE = {
    "stages spread over workers": (model("m", 2), [worker("a"), worker("b")], ["a+m/1/0", "b+m/1/1"], []),
    "where there are more stages than workers, those that follow each other are together": (
        model("m", 3),
        [worker("a"), worker("b")],
        ["a+m/1/0", "b+m/1/1", "b+m/1/2"],
        [],
    ),
    "replicas go to different workers, the third waits": (
        model("m", 1, replicas=3),
        [worker("a"), worker("b")],
        ["a+m/1/0", "b+m/1/0"],
        [],
    ),
    "what is held stays": (
        model("m", 2),
        [worker("a", m1=READY), worker("b", m0=READY)],
        [],
        [],
    ),
    "what is loading is not ordered again": (
        model("m", 1),
        [worker("a", m0=LOADING), worker("b")],
        [],
        [],
    ),
    "a ghost is evicted": ([], [worker("a", m0=READY)], [], ["a-m/1/0"]),
    "a stage that is being evicted is not evicted again": ([], [worker("a", m0=EVICTING)], [], []),
    "a stage is not placed where its eviction is under way": (
        model("m", 1),
        [worker("a", m0=EVICTING)],
        [],
        [],
    ),
    "only workers that satisfy the requirements": (
        model("m", 2, require=("gpu",)),
        [worker("a"), worker("b", "gpu")],
        ["b+m/1/0", "b+m/1/1"],
        [],
    ),
    "a holder that does not satisfy them any more evicts": (
        model("m", 1, require=("gpu",)),
        [worker("a", m0=READY)],
        [],
        ["a-m/1/0"],
    ),
    "a worker that comes gets one of two": (
        model("m", 2),
        [worker("a", m0=READY, m1=READY), worker("b")],
        ["b+m/1/0"],
        [],
    ),
    "a difference of one is left alone": (
        model("m", 3),
        [worker("a", m0=READY, m1=READY), worker("b", m2=READY)],
        [],
        [],
    ),
    "a move under way is not accompanied by another": (
        model("m", 4),
        [worker("a", m0=READY, m1=READY, m2=READY, m3=READY), worker("b", m0=LOADING)],
        [],
        [],
    ),
    "a move that is done ends on the fuller worker": (
        model("m", 2),
        [worker("a", m0=READY, m1=READY), worker("b", m0=READY)],
        [],
        ["a-m/1/0"],
    ),
    "a stage that failed elsewhere does not move there": (
        model("m", 2),
        [worker("a", m0=READY, m1=READY), worker("b", m0=FAILED, m1=FAILED)],
        [],
        [],
    ),
}


@pytest.mark.parametrize(("desired", "workers", "place", "evict"), TABLE.values(), ids=TABLE.keys())
def test_placement_commands(desired, workers, place, evict):
    assert commands(decide_placement(desired, workers, 0.0)) == (place, evict)


def test_placement_evicts_other_content_and_does_not_route_to_it():
    stale = WorkerView(WorkerId("a"), stages={StageKey("m/1/0"): Held(READY, Digest("old"))})
    placement = decide_placement(model("m", 1), [stale], 0.0)
    assert commands(placement) == ([], ["a-m/1/0"])
    assert placement.routed == {"m/1/0": ()}


def test_placement_of_a_failed_stage_is_elsewhere_at_once_and_there_again_later():
    failed = {StageKey("m/1/0"): held(FAILED, "m/1/0", retry_s=5.0)}
    alone = [WorkerView(WorkerId("a"), stages=failed)]
    assert commands(decide_placement(model("m", 1), [*alone, worker("b")], 0.0)) == (["b+m/1/0"], [])
    waiting = decide_placement(model("m", 1), alone, 0.0)
    assert (commands(waiting), waiting.retry_s) == (([], []), 5.0)
    assert commands(decide_placement(model("m", 1), alone, 5.0)) == (["a+m/1/0"], [])


def test_placement_honours_the_cpu_class_of_a_plan():
    workers = [
        WorkerView(WorkerId("a"), attributes={"cpu.class": "arm", "device": "cpu"}),
        WorkerView(WorkerId("b"), attributes={"cpu.class": "x86", "device": "cuda"}),
        WorkerView(WorkerId("c"), attributes={"cpu.class": "x86", "device": "cpu"}),
    ]
    assert commands(decide_placement(model("m", 1, cpu_class="x86"), workers, 0.0)) == (["c+m/1/0"], [])


def test_placement_keeps_the_old_replica_until_the_new_one_is_ready():
    desired = model("m", 2)
    before = decide_placement(desired, [worker("a", m0=READY, m1=READY), worker("b", m0=LOADING)], 0.0)
    after = decide_placement(desired, [worker("a", m0=READY, m1=READY), worker("b", m0=READY)], 0.0)
    assert before.routed == {"m/1/0": ("a",), "m/1/1": ("a",)}
    assert after.routed == {"m/1/0": ("b",), "m/1/1": ("a",)}


def test_placement_does_not_depend_on_the_order_of_its_inputs():
    desired, workers = model("m", 3) + model("n", 2), [worker("a"), worker("b"), worker("c")]
    assert decide_placement(desired, workers, 0.0) == decide_placement(desired[::-1], workers[::-1], 0.0)


def test_placement_prefers_a_lighter_worker_among_equals():
    heavy = model("m", 1, weight_bytes=100)
    light = model("n", 1, weight_bytes=1)
    workers = [worker("a", m0=READY), worker("b", n0=READY)]
    assert commands(decide_placement(heavy + light + model("o", 1), workers, 0.0)) == (["b+o/1/0"], [])


def kind(name, device, *, memory=None, **stages):
    """A worker of a kind of device; the memory is what stages have of it."""
    view = worker(name, **stages)
    facts = {"device.kind": device} | (
        {} if memory is None else {"memory.bytes": str(memory + RESERVE_BYTES)}
    )
    return WorkerView(view.id, attributes=facts, stages=view.stages)


def home(device, count=1, *workers):
    return Home(device, count, frozenset(workers))


def assigned(*homes, replicas=1, peak_bytes=0):
    """Model m: for each stage its homes."""
    return [
        DesiredStage(
            StageKey(f"m/1/{i}"),
            (ModelName("m"), Version(1)),
            Digest(f"m{i}"),
            replicas=replicas,
            peak_bytes=peak_bytes,
            homes=each,
        )
        for i, each in enumerate(homes)
    ]


PLANNED = {
    "each stage goes to the kind that it is meant for": (
        assigned((home("fast"),), (home("slow"),)),
        [kind("a", "slow"), kind("b", "fast")],
        ["a+m/1/1", "b+m/1/0"],
        [],
    ),
    "a worker that is listed is of its kind, whatever it says now": (
        assigned((home("merged", 1, "b"),)),
        [kind("a", "fast"), kind("b", "other")],
        ["b+m/1/0"],
        [],
    ),
    "kinds of one label differ by the workers listed": (
        assigned((home("fast #2", 1, "b"),)),
        [kind("a", "fast"), kind("b", "fast")],
        ["a+m/1/0"],
        [],
    ),
    "replicas go to as many of each kind as are meant": (
        assigned((home("fast", 1), home("slow", 2)), replicas=3),
        [kind("a", "fast"), kind("b", "fast"), kind("c", "slow"), kind("d", "slow")],
        ["a+m/1/0", "c+m/1/0", "d+m/1/0"],
        [],
    ),
    "where none of the kind is there, any worker serves": (
        assigned((home("other"),)),
        [kind("a", "slow")],
        ["a+m/1/0"],
        [],
    ),
    "a stage moves home when a worker of its kind comes": (
        assigned((home("fast"),)),
        [kind("a", "slow", m0=READY), kind("b", "fast")],
        ["b+m/1/0"],
        [],
    ),
    "the one that is not at home goes": (
        assigned((home("fast"),)),
        [kind("a", "slow", m0=READY), kind("b", "fast", m0=READY)],
        [],
        ["a-m/1/0"],
    ),
    "a home that is full is left alone": (
        assigned((home("fast"),), (home("fast"),), (home("slow"),)),
        [kind("a", "fast", m0=READY, m1=READY, m2=READY), kind("b", "slow", m2=LOADING)],
        [],
        [],
    ),
    "a stage does not leave its home to make workers more even": (
        assigned((home("fast"),), (home("fast"),)),
        [kind("a", "fast", m0=READY, m1=READY), kind("b", "slow")],
        [],
        [],
    ),
    "among workers that are as much at home it does": (
        assigned((home("fast", 1, "a", "b"),), (home("fast", 1, "a", "b"),)),
        [kind("a", "fast", m0=READY, m1=READY), kind("b", "fast")],
        ["b+m/1/0"],
        [],
    ),
    "a stage that failed at home stays where it is": (
        assigned((home("fast"),)),
        [kind("a", "slow", m0=READY), kind("b", "fast", m0=FAILED)],
        [],
        [],
    ),
}


@pytest.mark.parametrize(("desired", "workers", "place", "evict"), PLANNED.values(), ids=PLANNED.keys())
def test_placement_honours_the_homes_of_a_plan(desired, workers, place, evict):
    """Kinds first, then anyone: a stage is never left nowhere for the sake of a plan."""
    assert commands(decide_placement(desired, workers, 0.0)) == (place, evict)


def test_placement_prefers_memory_to_a_home():
    """Memory counts before the plan does."""
    desired = assigned((home("fast 9 B"),), peak_bytes=10)
    assert commands(
        decide_placement(desired, [kind("a", "fast", memory=9), kind("b", "slow", memory=10)], 0.0)
    ) == (
        ["b+m/1/0"],
        [],
    )


def test_placement_reports_the_bytes_that_are_lacking():
    """The best worker's lack, after what the stages before take."""
    desired = assigned((), (), peak_bytes=10)
    placement = decide_placement(desired, [kind("a", "x", memory=14), kind("b", "x", memory=8)], 0.0)
    assert commands(placement) == (["a+m/1/0"], [])
    assert placement.lacking_bytes == {"m/1/1": 2}


def test_placement_moves_no_stage_to_a_worker_without_memory():
    """Neither home nor for evenness."""
    desired = assigned((home("fast 9 B"),), (home("fast 9 B"),), peak_bytes=10)
    workers = [kind("a", "slow", memory=20, m0=READY, m1=READY), kind("b", "fast", memory=9)]
    assert commands(decide_placement(desired, workers, 0.0)) == ([], [])
    anywhere = assigned((), (), peak_bytes=10)
    assert commands(decide_placement(anywhere, workers, 0.0)) == ([], [])


def test_placement_counts_two_plans_of_a_model_separately():
    """While one plan takes over from another, each is spread as if it were alone."""
    old = [replace(stage, key=StageKey(f"m/1/{i}")) for i, stage in enumerate(assigned((), ()))]
    new = [replace(stage, key=StageKey(f"m/1.1/{i}"), revision=1) for i, stage in enumerate(assigned((), ()))]
    workers = [worker("a", m0=READY), worker("b", m1=READY)]
    assert commands(decide_placement(old + new, workers, 0.0)) == (["a+m/1.1/0", "b+m/1.1/1"], [])
