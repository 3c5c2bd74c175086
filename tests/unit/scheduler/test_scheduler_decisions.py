"""The other pure parts: who is eligible, what a worker holds, what gateways and people are told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from onnxmesh.discovery.base import Instance
from onnxmesh.errors import InvalidRequest, Unsatisfiable
from onnxmesh.ids import Digest, StageKey
from onnxmesh.planning.input_shapes import InputShapes
from onnxmesh.planning.plan import Demand, Objective
from onnxmesh.routing.selector_text import lacking, parse_selector
from onnxmesh.state.base import Deployment
from onnxmesh.v1.model_pb2 import (
    Artefact,
    Batching,
    DeploymentSpec,
    Partition,
    Plan,
    Shape,
    Shapes,
    Signature,
    TensorSpec,
)
from onnxmesh.v1.worker_pb2 import StageFailed, StageLoaded
from services.scheduler.drainer import why_it_stays
from services.scheduler.eligibility import eligible_again, eligible_workers
from services.scheduler.holdings import Held, Holdings, StageState
from services.scheduler.placement import Placement, WorkerView
from services.scheduler.routes import Routes, build_routes, inputs_by_stage
from services.scheduler.spec import demand_of, normalised, same_wish, shapes_of
from services.scheduler.status import model_status
from services.scheduler.wanted import WantedStage

STAGE = StageKey("m/1/0")


def worker(id_, *tags, **attributes):
    facts = {key.replace("_", "."): value for key, value in attributes.items()}
    return Instance(id_, "worker", f"{id_}:1", 1, tags, facts)


def deployment(num_stages=1, replicas=1, **plan):
    partitions = [Partition(index=i, artefact=Artefact(digest=f"d{i}")) for i in range(num_stages)]
    return Deployment(
        DeploymentSpec(name="m", version=1, replicas=replicas),
        Plan(partitions=partitions, **plan),
        Artefact(),
    )


def view(id_, **stages):
    return WorkerView(id_, stages={StageKey(f"m/1/{key[1:]}"): held for key, held in stages.items()})


@pytest.mark.parametrize(
    ("require", "missing"),
    [
        ([], ()),
        (["gpu"], ()),
        (["zone=x", "cores=4"], ()),
        (["edge", "gpu", "zone=y", "cores=8"], ("edge", "zone=y", "cores=8")),
        (["cores", "!gpu", "cores >= 4", "zone notin (x, y)"], ("!gpu", "zone notin (x, y)")),
    ],
)
def test_lacking_names_what_a_worker_does_not_meet(require, missing):
    assert lacking(require, ("gpu", "zone=x"), {"cores": "4"}) == missing


@pytest.mark.parametrize("requirement", ["", "a b", "=x", "a=b c", " a", "x" * 300, "a\n"])
def test_a_requirement_of_another_form_is_refused(requirement):
    with pytest.raises(InvalidRequest):
        parse_selector(requirement)


X86 = {"cpu_class": "x86", "device": "cpu"}
ARM = {"cpu_class": "arm", "device": "cpu"}
GPU = {"cpu_class": "x86", "device": "cuda"}

LEVELS = {
    "one class of CPU": ("auto", "auto", [X86, X86], ("exact", "all", "x86", 2)),
    "two classes": ("auto", "auto", [X86, ARM], ("exact", "extended", "", 2)),
    "a GPU among them": ("auto", "auto", [X86, GPU], ("portable", "none", "", 2)),
    "GPUs alone": ("auto", "auto", [GPU, GPU], ("portable", "none", "", 2)),
    "a GPU among them, and bits asked for": ("exact", "auto", [X86, GPU], ("exact", "basic", "", 2)),
    "a class that is not stated": ("auto", "auto", [X86, {}], ("exact", "extended", "", 2)),
    "a level that was asked for": ("auto", "none", [X86, GPU], ("exact", "none", "", 2)),
    "all, asked for over two classes": ("auto", "all", [ARM, X86, X86, GPU], ("exact", "all", "x86", 2)),
    "portable, asked for on one class": ("portable", "auto", [X86, X86], ("portable", "none", "", 2)),
}


@pytest.mark.parametrize(("mode", "level", "facts", "expected"), LEVELS.values(), ids=LEVELS.keys())
def test_mode_and_level_suit_every_eligible_worker(mode, level, facts, expected):
    """A plan made anew keeps them, and stays with the class of CPU that they are tied to."""
    workers = [worker(f"w{i}", **each) for i, each in enumerate(facts)]
    spec = normalised(DeploymentSpec(name="m", mode=mode, optimisation=level))
    found = eligible_workers(spec, workers)
    assert (found.mode, found.optimisation, found.cpu_class, len(found.workers)) == expected
    plan = Plan(mode=found.mode, optimisation=found.optimisation, cpu_class=found.cpu_class)
    assert eligible_again(spec, plan, [*workers, worker("z", cpu_class="riscv")]).workers == (
        found.workers if found.cpu_class else (*found.workers, worker("z", cpu_class="riscv"))
    )


def test_a_plan_tied_to_a_class_that_is_gone_cannot_be_made_anew():
    """The message names the class."""
    spec = normalised(DeploymentSpec(name="m"))
    with pytest.raises(Unsatisfiable, match="no worker is of the CPU class 'x86'"):
        eligible_again(spec, Plan(optimisation="all", cpu_class="x86"), [worker("a", **ARM)])


def test_all_cannot_be_had_without_a_class():
    spec = normalised(DeploymentSpec(name="m", optimisation="all"))
    with pytest.raises(Unsatisfiable, match=r"none of a, b is a CPU worker that states its 'cpu\.class'"):
        eligible_workers(spec, [worker("a", **GPU), worker("b")])


def test_a_spec_gets_its_defaults_and_order_does_not_matter():
    spec = normalised(DeploymentSpec(name="m", require=["b", "a", "b"]))
    assert (spec.replicas, spec.optimisation, list(spec.require)) == (1, "auto", ["a", "b"])
    assert same_wish(spec, normalised(DeploymentSpec(name="m", version=3, require=["a", "b"])))
    assert not same_wish(spec, normalised(DeploymentSpec(name="m", require=["a"])))


@pytest.mark.parametrize(
    "batching",
    [Batching(mode="on"), Batching(max_rows=8), Batching(max_delay_us=0), Batching(max_delay_us=5)],
)
def test_another_way_to_batch_is_another_wish(batching):
    """No delay at all is not the same as one that is learned."""
    spec = normalised(DeploymentSpec(name="m", batching=batching))
    assert same_wish(spec, spec)
    assert not same_wish(spec, normalised(DeploymentSpec(name="m")))


@pytest.mark.parametrize(
    ("batching", "words"),
    [
        (Batching(mode="of"), "batching is one of auto, on, off; got 'of'"),
        (Batching(max_rows=5000), "a batch has at most 4096 rows; 5000 were asked for"),
        (Batching(max_delay_us=10**8), "requests wait for others 10000000 us at the most"),
    ],
)
def test_a_way_to_batch_that_cannot_be_is_refused(batching, words):
    """With what can be."""
    with pytest.raises(InvalidRequest, match=words):
        normalised(DeploymentSpec(name="m", batching=batching))


def test_what_an_older_release_wrote_down_is_the_same_wish_as_defaults():
    """It knew neither mode nor objective nor shapes."""
    old = DeploymentSpec(name="m", version=1, replicas=1, optimisation="auto")
    assert same_wish(old, normalised(DeploymentSpec(name="m")))


@pytest.mark.parametrize(
    "change",
    [
        {"mode": "portable"},
        {"objective": "latency"},
        {"replicate": True},
        {"shapes": Shapes(batch=2)},
        {"shapes": Shapes(inputs={"x": Shape(dims=[1, 3])})},
    ],
)
def test_another_mode_objective_or_shape_is_another_wish(change):
    """Whatever a plan depends on."""
    spec = normalised(DeploymentSpec(name="m", **change))
    assert same_wish(spec, spec)
    assert not same_wish(spec, normalised(DeploymentSpec(name="m")))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"mode": "fast"}, "mode is one of auto, exact, portable; got 'fast'"),
        ({"objective": "cost"}, "objective is one of throughput, latency; got 'cost'"),
        ({"mode": "portable", "optimisation": "all"}, "optimisation 'all' is for mode 'exact'"),
        (
            {"shapes": Shapes(inputs={"x": Shape(dims=[1, -1])})},
            r"shape for 'x': expected up to 64 sizes of 0 or more, got \[1, -1\]",
        ),
        ({"shapes": Shapes(inputs={"": Shape(dims=[1])})}, "a shape is for an input by name"),
    ],
)
def test_a_wish_that_cannot_be_is_named(wrong, says):
    """With what was expected and what came."""
    with pytest.raises(InvalidRequest, match=says):
        normalised(DeploymentSpec(name="m", **wrong))


def test_a_spec_says_what_a_plan_is_asked_for():
    """No stages and `replicate` leave the choice; devices may be shared."""
    asked = normalised(DeploymentSpec(name="m", stages=3, replicas=2, objective="latency"))
    assert demand_of(asked) == Demand(Objective.LATENCY, 3, 2, share=True)
    free = normalised(DeploymentSpec(name="m", replicate=True))
    assert demand_of(free) == Demand(Objective.THROUGHPUT, None, None, share=True)
    shaped = DeploymentSpec(name="m", shapes=Shapes(inputs={"x": Shape(dims=[4, 2])}))
    assert shapes_of(normalised(shaped)) == InputShapes(1, {"x": (4, 2)})


def test_holdings_fold_events():
    holdings = Holdings()
    holdings.placing(STAGE, Digest("d"))
    assert holdings.stages[STAGE].state is StageState.LOADING
    holdings.loaded(StageLoaded(stage=STAGE, digest="d"))
    assert holdings.stages[STAGE].state is StageState.READY
    holdings.evicting(STAGE)
    holdings.loaded(StageLoaded(stage=STAGE, digest="d"))
    assert holdings.stages[STAGE].state is StageState.EVICTING
    holdings.evicted(STAGE)
    assert not holdings.stages


def test_a_stage_that_fails_on_its_way_out_is_gone_only_when_the_worker_says_so():
    holdings = Holdings()
    holdings.placing(STAGE, Digest("d"))
    holdings.evicting(STAGE)
    holdings.failed(StageFailed(stage=STAGE, reason="INVALID_MODEL"), 0.0)
    assert holdings.stages[STAGE].state is StageState.EVICTING
    holdings.evicted(STAGE)
    assert not holdings.stages


def test_failures_in_a_row_wait_longer_up_to_a_limit():
    holdings, waits = Holdings(), []
    for _ in range(8):
        holdings.placing(STAGE, Digest("d"))
        holdings.failed(StageFailed(stage=STAGE, reason="INVALID_MODEL", message="no"), 100.0)
        waits.append(holdings.stages[STAGE].retry_s - 100.0)
    assert waits == [2, 4, 8, 16, 32, 60, 60, 60]
    holdings.placing(STAGE, Digest("other"))
    assert holdings.stages[STAGE].failures == 0


def test_a_workers_word_replaces_what_was_believed_but_not_what_failed():
    holdings = Holdings()
    for key in ("m/1/0", "m/1/1"):
        holdings.placing(StageKey(key), Digest("d"))
    holdings.failed(StageFailed(stage="m/1/1"), 0.0)
    holdings.rebuild([StageLoaded(stage="n/1/0", digest="e")])
    assert {key: held.state for key, held in holdings.stages.items()} == {
        "m/1/1": StageState.FAILED,
        "n/1/0": StageState.READY,
    }
    holdings.forget_failures({StageKey("n/1/0")})
    assert list(holdings.stages) == ["n/1/0"]


def test_events_about_unknown_stages_are_harmless():
    holdings = Holdings()
    holdings.failed(StageFailed(stage="x/1/0"), 0.0)
    holdings.evicted(StageKey("x/1/0"))
    holdings.evicting(StageKey("x/1/0"))
    assert not holdings.stages


def test_a_model_appears_when_it_is_complete_and_stays_afterwards():
    workers = {"a": worker("a")}
    half = {"m/1/0": ("a",), "m/1/1": ()}
    none = build_routes([deployment(2)], half, workers, Routes())
    assert none.models == {}
    whole = build_routes([deployment(2)], half | {"m/1/1": ("a",)}, workers, none)
    assert [len(stage.replicas) for stage in whole.models["m", 1].stages] == [1, 1]
    after = build_routes([deployment(2)], half, workers, whole)
    assert [len(stage.replicas) for stage in after.models["m", 1].stages] == [1, 0]
    assert build_routes([], {}, workers, after).appeared == frozenset()


def test_gateways_are_told_which_inputs_go_straight_to_which_stage():
    """Stage 0 then lists what it reads or passes on; a plan without direct inputs lists nothing."""
    inputs = [TensorSpec(name=name) for name in ("a", "b", "c", "d")]
    first = Partition(inputs=inputs[1:2], live_out=["h", "d", "y"])
    plan = Plan(
        signature=Signature(inputs=inputs),
        partitions=[
            first,
            Partition(index=1, direct_inputs=["a"]),
            Partition(index=2, direct_inputs=["b", "c"]),
        ],
    )
    assert inputs_by_stage(plan) == [["b", "d"], ["a"], ["b", "c"]]
    routes = build_routes(
        [replace(deployment(3), plan=plan)],
        {f"m/1/{index}": ("w",) for index in range(3)},
        {"w": worker("w")},
        Routes(),
    )
    assert [list(stage.direct_inputs) for stage in routes.models["m", 1].stages] == [
        ["b", "d"],
        ["a"],
        ["b", "c"],
    ]
    plain = Plan(signature=Signature(inputs=inputs), partitions=[first, Partition(index=1)])
    assert inputs_by_stage(plain) == [[], []]


def test_gateways_are_told_what_workers_say_of_themselves():
    """Once for each worker that the models name, however many stages it serves."""
    workers = {"a": worker("a", "edge", zone="eu"), "b": worker("b"), "idle": worker("idle")}
    routes = build_routes([deployment(2)], {"m/1/0": ("a", "b"), "m/1/1": ("a",)}, workers, Routes())
    told = {id_: (list(each.tags), dict(each.attributes)) for id_, each in routes.workers.items()}
    assert told == {"a": (["edge"], {"zone": "eu"}), "b": ([], {})}


def test_gateways_are_told_who_leaves_and_how_versions_share():
    """A worker that leaves is there without a replica, too; a version without a part has none."""
    workers = {id_: worker(id_) for id_ in ("a", "b", "c")}
    key = ("m", 1)
    routes = build_routes(
        [deployment()], {STAGE: ("a",)}, workers, Routes(), leaving={"a", "b"}, percents={key: 30}
    )
    assert {id_: each.leaving for id_, each in routes.workers.items()} == {"a": True, "b": True}
    assert routes.models[key].traffic_percent == 30
    alone = build_routes([deployment()], {STAGE: ("a",)}, workers, Routes())
    assert not alone.models[key].HasField("traffic_percent")


@pytest.mark.parametrize(
    ("workers", "lacking_bytes", "why"),
    [
        ([], {}, "m/1/0: there is no other worker"),
        ([WorkerView("c", leaving=True)], {}, "m/1/0: there is no other worker"),
        ([WorkerView("b", frozenset({"gpu"}))], {}, ""),
        ([WorkerView("b")], {}, "m/1/0: no other worker satisfies gpu"),
        (
            [WorkerView("b", frozenset({"gpu"}))],
            {STAGE: 5_000_000},
            "m/1/0: no other worker has the memory for it, the best lacks 5.0 MB",
        ),
        (
            [WorkerView("b", frozenset({"gpu"}), {}, {STAGE: Held(StageState.LOADING, Digest("d"))})],
            {STAGE: 5_000_000},
            "",
        ),
        (
            [
                WorkerView(
                    "b", frozenset({"gpu"}), {}, {STAGE: Held(StageState.FAILED, Digest("d"), "X", "no disk")}
                )
            ],
            {},
            "m/1/0: it could not be loaded on b: no disk",
        ),
    ],
)
def test_what_keeps_a_stage_on_a_worker_that_leaves_is_named(workers, lacking_bytes, why):
    """Nothing is said of one that is being moved."""
    stage = WantedStage(STAGE, ("m", 1), Digest("d"), require=("gpu",))
    everyone = [WorkerView("a", frozenset({"gpu"}), leaving=True), *workers]
    assert why_it_stays(stage, "a", everyone, Placement({}, lacking_bytes=lacking_bytes)) == why


def test_a_part_of_the_traffic_is_no_part_of_the_wish():
    """It is said once, and changed by other means; 0 is one."""
    spec = normalised(DeploymentSpec(name="m", traffic_percent=0))
    assert spec.HasField("traffic_percent")
    assert same_wish(spec, DeploymentSpec(name="m"))
    assert not normalised(DeploymentSpec(name="m")).HasField("traffic_percent")


READY = Held(StageState.READY, Digest("d0"))
LOADING = Held(StageState.LOADING, Digest("d0"))
FAILED = Held(StageState.FAILED, Digest("d0"), "INVALID_MODEL", "no such op")

STATES = {
    "ready": ({"m/1/0": ("a",)}, [view("a", s0=READY)], False, 1, "READY", ""),
    "one of two": (
        {"m/1/0": ("a",)},
        [view("a", s0=READY)],
        False,
        2,
        "READY",
        "stage 0 has 1 of 2 replicas",
    ),
    "loading": ({}, [view("a", s0=LOADING)], False, 1, "LOADING", "stage 0 has no replica"),
    "lost": ({}, [view("a", s0=LOADING)], True, 1, "UNAVAILABLE", "stage 0 has no replica"),
    "no worker": ({}, [], True, 1, "UNAVAILABLE", "stage 0 has no replica: no worker is there"),
    "failed": (
        {},
        [view("a", s0=FAILED)],
        True,
        1,
        "UNAVAILABLE",
        "stage 0 has no replica: INVALID_MODEL: no such op on a",
    ),
}


@pytest.mark.parametrize(
    ("routed", "workers", "appeared", "replicas", "state", "reason"), STATES.values(), ids=STATES.keys()
)
def test_status_says_what_is_missing_and_why(routed, workers, appeared, replicas, state, reason):
    seen = frozenset({("m", 1)}) if appeared else frozenset()
    status = model_status(deployment(replicas=replicas), workers, Placement(routed), seen)
    assert (status.state, status.reason) == (state, reason)
    assert len(status.replicas) == len(workers)
