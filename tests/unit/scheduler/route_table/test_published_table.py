"""Every watcher ends with the leader's table, by whatever path."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.routing.table.table import RoutingTable
from onnxmesh.v1.mesh_pb2 import RouteTable, RouteUpdate
from services.scheduler.publishing.publisher import Publisher
from services.scheduler.publishing.route_relay import RouteRelay
from services.scheduler.route_table.published_table import PublishedTable
from tests.fakes.route_changes import changed
from tests.fakes.route_tables import contents


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
async def test_published_table_arrives_by_any_path(steps, new_leader_at):
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
        # The follower gets every table of the leader, its slow watcher only some.
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
