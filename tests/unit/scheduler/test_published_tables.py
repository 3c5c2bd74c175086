"""How tables get from the scheduler that leads to those who watch."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.discovery.instance import Instance
from onnxmesh.ids import StageKey, WorkerId
from onnxmesh.routing.table.table import RoutingTable
from onnxmesh.state.base import Deployment
from onnxmesh.v1.mesh_pb2 import RoutedModel, RoutedWorker, RouteTable, RouteUpdate
from onnxmesh.v1.model_pb2 import Artefact, DeploymentSpec, Partition, Plan
from services.scheduler.publishing.publisher import Publisher
from services.scheduler.publishing.route_relay import RouteRelay
from services.scheduler.route_table.published_table import PublishedTable
from services.scheduler.route_table.routes import Routes, build_routes
from tests.fakes.route_changes import changed
from tests.fakes.route_tables import contents


def worker(id_, generation=1, **attributes):
    return Instance(id_, "worker", f"{id_}:{generation}", generation, (), attributes)


def deployment(name="m", version=1, num_stages=1):
    partitions = [Partition(index=index) for index in range(num_stages)]
    return Deployment(DeploymentSpec(name=name, version=version), Plan(partitions=partitions), Artefact())


def built(models, workers, publisher):
    """Publishes models and workers; equal ones are, as `build_routes` has it, the same objects."""
    now = publisher.table
    kept = {(each.name, each.version): each for each in models}
    listed = {each.worker: each for each in workers}
    publisher.publish(
        {key: now.models[key] if now.models.get(key) == each else each for key, each in kept.items()},
        {key: now.workers[key] if now.workers.get(key) == each else each for key, each in listed.items()},
    )


def as_dict(table):
    """A message's content, whatever its order."""
    return (
        table.epoch,
        {(each.name, each.version): each for each in table.models},
        {each.worker: each for each in table.workers},
    )


@given(
    st.lists(st.tuples(contents(), st.booleans(), st.booleans()), min_size=1, max_size=8), st.integers(0, 8)
)
async def test_however_a_table_travels_it_arrives(steps, new_leader_at):
    """A slow watcher, a follower's watcher that joins late and a gateway's table agree with the leader's at each look.

    In between another leader takes over, whose messages are all its own.
    """
    publisher, relay = Publisher(100), RouteRelay("s")
    follower = None
    direct, relayed, seen, table = None, None, RouteTable(), RouteTable()
    routing = None
    for number, ((models, workers), looks, relay_looks) in enumerate(steps):
        if number == new_leader_at:
            publisher = Publisher(10_000)
        built(models, workers, publisher)
        now = publisher.table
        if looks:  # in one process, or on the leader's own stream
            update = RouteUpdate.FromString(now.update(direct).SerializeToString())
            direct = now
            seen = changed(seen, update)
            assert as_dict(seen) == as_dict(now.update(None).whole)
            if update.WhichOneof("kind") == "whole":
                routing = RoutingTable.from_proto(update.whole)
            else:
                assert routing is not None
                routing = routing.apply(update.change)
            assert dict(routing.models) == dict(RoutingTable.from_proto(seen).models)
            assert dict(routing.workers) == dict(RoutingTable.from_proto(seen).workers)
        # The follower hears of everything the leader publishes, but tells a slow watcher once in a while.
        update = RouteUpdate.FromString(now.update(follower).SerializeToString())
        follower = now
        if update.WhichOneof("kind") == "whole":
            relay.accept(PublishedTable.from_proto(update.whole))
        else:
            held = await anext(relay.tables())
            relay.accept(held.apply(update.change))
        if relay_looks:
            held = await anext(relay.tables())
            table = changed(table, RouteUpdate.FromString(held.update(relayed).SerializeToString()))
            relayed = held
            assert as_dict(table) == as_dict(now.update(None).whole)


async def test_an_epoch_counts_changes_and_slow_watchers_get_one_change():
    publisher = Publisher(100)
    watching = publisher.watch()
    publisher.publish({}, {})
    publisher.publish({}, {})
    first = await anext(watching)
    assert first.whole.epoch == 101
    m, n = RoutedModel(name="m"), RoutedModel(name="n")
    publisher.publish({("m", 0): m}, {})
    publisher.publish({("m", 0): m, ("n", 0): n}, {})
    publisher.publish({("n", 0): n}, {"w": RoutedWorker(worker="w")})
    update = await anext(watching)
    assert (update.change.from_epoch, update.change.epoch) == (101, 104)
    assert [each.name for each in update.change.models] == ["n"]
    assert [each.worker for each in update.change.workers] == ["w"]
    assert not update.change.removed_models  # it came and went in between
    assert (await anext(publisher.watch())).whole.epoch == 104


def test_a_message_is_the_same_object_until_what_it_says_changes():
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
    # A deployment that was written down anew and says the same to gateways.
    same = build_routes([replace(deployments[0], costs=b"{}"), deployments[1]], routed, workers, first)
    assert same.models["m", 1] is first.models["m", 1]


def test_a_worker_that_was_started_anew_changes_every_model_that_it_serves():
    """And one that only says more of itself changes none."""
    workers = {id_: worker(id_) for id_ in "ab"}
    deployments = [deployment("m"), deployment("n")]
    routed = {StageKey("m/1/0"): ("a",), StageKey("n/1/0"): ("b",)}
    first = build_routes(deployments, routed, workers, Routes())
    faster = build_routes(deployments, routed, workers | {"a": worker("a", speed="9")}, first)
    assert faster.models == first.models
    assert faster.models["m", 1] is first.models["m", 1]
    assert dict(faster.workers["a"].attributes) == {"speed": "9"}
    assert faster.workers["b"] is first.workers["b"]
    anew = build_routes(deployments, routed, workers | {"a": worker("a", generation=2)}, first)
    assert anew.models["m", 1].stages[0].replicas[0].address == "a:2"
    assert anew.models["n", 1] is first.models["n", 1]


def test_a_worker_that_leaves_is_told_of_without_a_replica():
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


def test_a_part_of_the_requests_goes_with_the_model():
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
def test_what_is_built_step_by_step_is_what_is_built_at_once(steps):
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
        gone = leaving & workers.keys()
        before = routes
        routes = build_routes(deployments, routed, workers, before, leaving=gone)
        at_once = build_routes(deployments, routed, workers, Routes(published=before.published), leaving=gone)
        assert (routes.models, routes.workers, routes.published) == (
            at_once.models,
            at_once.workers,
            at_once.published,
        )
