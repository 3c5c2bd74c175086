"""The content of the route table."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.discovery.instance import Instance
from onnxmesh.ids import StageKey, WorkerId
from onnxmesh.state.base import Deployment
from onnxmesh.v1.model_pb2 import (
    Artefact,
    DeploymentSpec,
    Partition,
    Plan,
)
from services.scheduler.route_table.routes import Routes, build_routes
from tests.unit.scheduler.decision_tables import STAGE


def worker(id_, generation=1, **attributes):
    return Instance(id_, "worker", f"{id_}:{generation}", generation, (), attributes)


def deployment(name="m", version=1, num_stages=1):
    partitions = [Partition(index=index) for index in range(num_stages)]
    return Deployment(DeploymentSpec(name=name, version=version), Plan(partitions=partitions), Artefact())


def test_routes_reuse_a_message_until_its_content_changes():
    """So a change of one model is found without looking into any other."""
    workers = {id_: worker(id_) for id_ in "abc"}
    deployments = [deployment("m"), deployment("n")]
    routed = {StageKey("m/1/0"): ("a",), StageKey("n/1/0"): ("a", "b")}
    first = build_routes(deployments, routed, workers, Routes())
    again = build_routes(deployments, {key: tuple(ids) for key, ids in routed.items()}, dict(workers), first)
    assert again.models["m", 1] is first.models["m", 1]
    assert again.workers is first.workers
    fewer = build_routes(deployments, routed | {StageKey("n/1/0"): ("b",)}, workers, again)
    assert fewer.models["m", 1] is first.models["m", 1]
    assert [each.worker for each in fewer.models["n", 1].stages[0].replicas] == ["b"]
    assert fewer.workers["a"] is first.workers["a"]
    # A deployment that was saved again with the same content for gateways.
    same = build_routes([replace(deployments[0], costs=b"{}"), deployments[1]], routed, workers, first)
    assert same.models["m", 1] is first.models["m", 1]


def test_routes_of_a_restarted_worker_change_every_model_that_it_serves():
    """A worker that only reports more attributes changes none."""
    workers = {id_: worker(id_) for id_ in "ab"}
    deployments = [deployment("m"), deployment("n")]
    routed = {StageKey("m/1/0"): ("a",), StageKey("n/1/0"): ("b",)}
    first = build_routes(deployments, routed, workers, Routes())
    faster = build_routes(deployments, routed, workers | {"a": worker("a", speed="9")}, first)
    assert faster.models == first.models
    assert faster.models["m", 1] is first.models["m", 1]
    assert dict(faster.workers["a"].attributes) == {"speed": "9"}
    assert faster.workers["b"] is first.workers["b"]
    restarted = build_routes(deployments, routed, workers | {"a": worker("a", generation=2)}, first)
    assert restarted.models["m", 1].stages[0].replicas[0].address == "a:2"
    assert restarted.models["n", 1] is first.models["n", 1]


def test_routes_keep_a_leaving_worker_without_a_replica():
    """For as long as it is there; others go with their last replica."""
    workers = {id_: worker(id_) for id_ in "ab"}
    routed = {StageKey("m/1/0"): ("a",)}
    first = build_routes([deployment()], routed, workers, Routes())
    leaving = build_routes([deployment()], routed, workers, first, leaving=[WorkerId("a")])
    assert leaving.workers["a"].leaving
    moved = {StageKey("m/1/0"): ("b",)}
    left = build_routes([deployment()], moved, workers, leaving, leaving=[WorkerId("a")])
    assert left.workers["a"] is leaving.workers["a"]
    assert not left.workers["b"].leaving
    assert set(build_routes([deployment()], moved, {"b": workers["b"]}, left).workers) == {"b"}


def test_routes_have_the_traffic_percentage_of_a_model():
    """0 percent is a part, too: it is not the same as none."""
    workers, routed = {"a": worker("a")}, {StageKey("m/1/0"): ("a",)}
    first = build_routes([deployment()], routed, workers, Routes())
    assert not first.models["m", 1].HasField("traffic_percent")
    none = build_routes([deployment()], routed, workers, first, percents={("m", 1): 0})
    assert none.models["m", 1].HasField("traffic_percent")


@given(
    st.lists(
        st.tuples(
            st.dictionaries(st.sampled_from("abcd"), st.integers(1, 2), min_size=1),
            st.dictionaries(st.sampled_from("mno"), st.sets(st.sampled_from("abcd"))),
            st.sets(st.sampled_from("abcd")),
        ),
        max_size=6,
    )
)
def test_routes_built_step_by_step_equal_routes_built_at_once(steps):
    """Whatever workers and deployments do."""
    made = {name: deployment(name) for name in "mno"}
    known: dict[tuple[str, int], Instance] = {}
    routes = Routes()
    for generations, holders, leaving in steps:
        workers = {
            id_: known.setdefault((id_, generation), worker(id_, generation))
            for id_, generation in generations.items()
        }
        deployments = [made[name] for name in holders]
        routed = {
            StageKey(f"{name}/1/0"): tuple(sorted(ids & workers.keys())) for name, ids in holders.items()
        }
        removed = leaving & workers.keys()
        before = routes
        routes = build_routes(deployments, routed, workers, before, leaving=removed)
        at_once = build_routes(
            deployments, routed, workers, Routes(published=before.published), leaving=removed
        )
        assert (routes.models, routes.workers, routes.published) == (
            at_once.models,
            at_once.workers,
            at_once.published,
        )


def test_routes_publish_a_model_when_it_is_complete_and_keep_it():
    workers = {"a": worker("a")}
    half = {"m/1/0": ("a",), "m/1/1": ()}
    none = build_routes([deployment(num_stages=2)], half, workers, Routes())
    assert none.models == {}
    whole = build_routes([deployment(num_stages=2)], half | {"m/1/1": ("a",)}, workers, none)
    assert [len(stage.replicas) for stage in whole.models["m", 1].stages] == [1, 1]
    after = build_routes([deployment(num_stages=2)], half, workers, whole)
    assert [len(stage.replicas) for stage in after.models["m", 1].stages] == [1, 0]
    assert build_routes([], {}, workers, after).published == frozenset()


def test_routes_have_tags_and_attributes_of_each_worker_once():
    """Once for each worker that the models name, however many stages it serves."""
    workers = {"a": replace(worker("a", zone="eu"), tags=("edge",)), "b": worker("b"), "idle": worker("idle")}
    routes = build_routes(
        [deployment(num_stages=2)], {"m/1/0": ("a", "b"), "m/1/1": ("a",)}, workers, Routes()
    )
    found = {id_: (list(each.tags), dict(each.attributes)) for id_, each in routes.workers.items()}
    assert found == {"a": (["edge"], {"zone": "eu"}), "b": ([], {})}


def test_routes_have_leaving_workers_and_traffic_percentages():
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
