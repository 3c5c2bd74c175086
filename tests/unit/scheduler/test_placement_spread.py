"""Replicas are spread over zones and hosts, pipelines are whole, memory is respected: by table and by property."""

from __future__ import annotations

from collections import Counter
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.ids import ModelName, StageKey, Version, WorkerId
from services.scheduler.desired.desired_stages import DesiredStage
from services.scheduler.placement.placement import decide_placement
from services.scheduler.workers.memory import MemoryBook
from tests.unit.scheduler.placement_tables import at_rest, num_held, orders, stages, view, where, zoned


def test_each_zone_gets_one_whole_pipeline():
    """Two stages with two replicas over two zones: requests can stay in their zone."""
    workers = [*zoned("x", "a", "b"), *zoned("y", "c", "d")]
    assert orders(decide_placement(stages("m", 2, replicas=2), workers, 0.0)) == [
        "a+m/1/0",
        "b+m/1/1",
        "c+m/1/0",
        "d+m/1/1",
    ]


def test_of_three_zones_every_stage_takes_the_same_two():
    """Two replicas, three zones: not one zone with a first stage and another with a second."""
    workers = [*zoned("x", "a", "b", "c"), *zoned("y", "d", "e", "f"), *zoned("z", "g", "h", "i")]
    zones = {each.id: each.attributes["zone"] for each in workers}
    placement = decide_placement(stages("m", 3, replicas=2), workers, 0.0)
    by_stage = {
        key: sorted(zones[order.worker] for order in placement.place if order.stage == key)
        for key in placement.routed
    }
    assert len(set(map(tuple, by_stage.values()))) == 1


def test_a_pipeline_begins_in_a_zone_in_which_it_fits():
    """A zone of one worker is not begun with where another has room for all stages."""
    workers = [*zoned("x", "a"), *zoned("y", "b", "c", "d")]
    assert orders(decide_placement(stages("m", 3), workers, 0.0)) == ["b+m/1/0", "c+m/1/1", "d+m/1/2"]


def test_but_not_in_a_zone_that_has_more_to_do():
    """Fitting counts workers that have little to do."""
    workers = [*zoned("x", "a"), *(view(name, "o/1/0 o/1/1", facts={"zone": "y"}) for name in "bcd")]
    desired = [*stages("o", 2, replicas=3), *stages("m", 2)]
    assert "a+m/1/0" in orders(decide_placement(desired, workers, 0.0))


def test_replicas_go_to_different_hosts_before_idle_workers():
    """Two workers of one machine fail together."""
    workers = [
        view("a", facts={"host": "h"}),
        view("b", facts={"host": "h"}),
        view("c", "o/1/0 o/1/1 o/1/2", facts={"host": "i"}),
    ]
    desired = [*stages("m", 1, replicas=2), *stages("o", 3)]
    assert orders(decide_placement(desired, workers, 0.0)) == ["a+m/1/0", "c+m/1/0"]


def test_replicas_go_to_different_zones_before_hosts():
    """A zone fails as a whole."""
    workers = [
        view("a", facts={"zone": "x", "host": "h"}),
        view("b", facts={"zone": "x", "host": "i"}),
        view("c", facts={"zone": "y", "host": "j"}),
    ]
    assert orders(decide_placement(stages("m", 1, replicas=2), workers, 0.0)) == ["a+m/1/0", "c+m/1/0"]


def test_tags_say_where_a_worker_is_as_well():
    """As for routing: a tag `zone=x` is as good as an attribute."""
    workers = [view(name, tags=frozenset([f"zone={zone}"])) for name, zone in zip("abc", "xxy", strict=True)]
    assert orders(decide_placement(stages("m", 1, replicas=2), workers, 0.0)) == ["a+m/1/0", "c+m/1/0"]


def test_one_more_replica_may_be_where_there_is_one_already():
    """Spread is a preference: three replicas over two zones all have a place."""
    workers = [*zoned("x", "a", "b"), *zoned("y", "c")]
    assert orders(decide_placement(stages("m", 1, replicas=3), workers, 0.0)) == [
        "a+m/1/0",
        "b+m/1/0",
        "c+m/1/0",
    ]


def test_the_versions_of_a_model_are_spread_each_for_itself():
    """They count as two models."""
    desired = [*stages("m", 2), *stages("m", 2, version=2)]
    views, _ = at_rest(desired, [view("a"), view("b")])
    assert {tuple(sorted({key.split("/")[1] for key in held})) for held in where(views).values()} == {
        ("1", "2")
    }


def test_a_revision_is_loaded_beside_the_one_that_serves():
    """The old one is neither moved nor let go for it."""
    old, new = stages("m", 2, replicas=2), stages("m", 3, revision=1, replicas=2)
    workers = [view(name, "m/1/0 m/1/1") for name in "abc"[:2]] + [view("c")]
    placement = decide_placement([*old, *new], workers, 0.0)
    assert not placement.evict
    assert placement.routed["m/1/0"] == placement.routed["m/1/1"] == ("a", "b")
    assert Counter(order.stage for order in placement.place) == Counter(
        {"m/1.1/0": 2, "m/1.1/1": 2, "m/1.1/2": 2}
    )


@pytest.mark.parametrize("sizes", sorted(set(permutations((500, 500, 1000)))))
def test_memory_is_filled_whatever_the_order(sizes):
    """Memory (500, 500, 1000) holds stages of (500, 500, 1000), and four of 500 as (1, 1, 2), whoever is asked first."""
    workers = [view(name, memory=size) for name, size in zip("abc", sizes, strict=True)]
    uneven = [
        DesiredStage(StageKey(f"m/1/{index}"), (ModelName("m"), Version(1)), f"m/1/{index}", peak_bytes=size)
        for index, size in enumerate((500, 500, 1000))
    ]
    placement = decide_placement(uneven, workers, 0.0)
    assert len(placement.place) == 3
    assert not placement.lacking_bytes
    even, _ = at_rest(stages("n", 4, peak_bytes=500), workers)
    assert [num_held(even)[name] for name in "abc"] == [size // 500 for size in sizes]


def test_first_replicas_come_before_second_ones():
    """Where there is room for two, a route is whole rather than half of it double."""
    workers = [view("a", memory=1), view("b", memory=1)]
    placement = decide_placement(stages("m", 2, replicas=2, peak_bytes=1), workers, 0.0)
    assert sorted(order.stage for order in placement.place) == ["m/1/0", "m/1/1"]


def test_the_book_of_memory_knows_what_each_worker_lacks():
    """Workers of one host share it; one that does not say has room."""
    workers = [
        view("a", memory=10, facts={"host": "h"}),
        view("b", memory=10, facts={"host": "h"}),
        view("c"),
    ]
    book = MemoryBook((each.id, each.attributes) for each in workers)
    book.take(0, 6)
    assert book.lacks(5).tolist() == [1, 1, 0]


PLACES = st.lists(st.tuples(st.sampled_from("xyz"), st.sampled_from("hi")), min_size=1, max_size=7)


@given(PLACES, st.integers(1, 3), st.integers(1, 4))
def test_whatever_the_zones_and_hosts(places, num_stages, replicas):
    """No worker holds a stage twice, zones and hosts differ by no more than they must, and nothing is left to move."""
    workers = [
        view(f"w{index}", facts={"zone": zone, "host": zone + host})
        for index, (zone, host) in enumerate(places)
    ]
    desired = stages("m", num_stages, replicas=replicas)
    placement = decide_placement(desired, workers, 0.0)
    zones = {each.id: each.attributes["zone"] for each in workers}
    for stage in desired:
        holders = [order.worker for order in placement.place if order.stage == stage.key]
        assert len(set(holders)) == len(holders) == min(replicas, len(workers))
        in_zone = Counter(zones[each] for each in holders)
        size = Counter(zones.values())
        for num in in_zone.values():
            for other in size:
                assert num <= in_zone[other] + 1 or in_zone[other] == size[other]


@given(PLACES, st.lists(st.tuples(st.integers(1, 3), st.integers(1, 3)), max_size=4), st.randoms())
def test_the_order_in_which_things_are_told_does_not_matter(places, models, rng):
    """The same workers and stages give the same placement."""
    workers = [
        view(WorkerId(f"w{index}"), facts={"zone": zone, "host": host})
        for index, (zone, host) in enumerate(places)
    ]
    desired = [
        stage
        for index, (num, replicas) in enumerate(models)
        for stage in stages(f"m{index}", num, replicas=replicas)
    ]
    expected = decide_placement(desired, workers, 0.0)
    rng.shuffle(workers)
    rng.shuffle(desired)
    assert decide_placement(desired, workers, 0.0) == expected
