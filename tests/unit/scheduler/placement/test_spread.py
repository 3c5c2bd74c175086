"""How replicas are distributed over zones, hosts and workers."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from services.scheduler.placement.placement import decide_placement
from tests.unit.scheduler.placement_tables import at_rest, commands, stages, view, where, zoned


def test_spread_places_a_whole_pipeline_in_each_zone():
    """Two stages with two replicas over two zones: requests can stay in their zone."""
    workers = [*zoned("x", "a", "b"), *zoned("y", "c", "d")]
    assert commands(decide_placement(stages("m", 2, replicas=2), workers, 0.0)) == [
        "a+m/1/0",
        "b+m/1/1",
        "c+m/1/0",
        "d+m/1/1",
    ]


def test_spread_uses_the_same_two_of_three_zones_for_every_stage():
    """Two replicas, three zones: not one zone with a first stage and another with a second."""
    workers = [*zoned("x", "a", "b", "c"), *zoned("y", "d", "e", "f"), *zoned("z", "g", "h", "i")]
    zones = {each.id: each.attributes["zone"] for each in workers}
    placement = decide_placement(stages("m", 3, replicas=2), workers, 0.0)
    by_stage = {
        key: sorted(zones[command.worker] for command in placement.place if command.stage == key)
        for key in placement.routed
    }
    assert len(set(map(tuple, by_stage.values()))) == 1


def test_spread_begins_a_pipeline_in_a_zone_with_enough_workers():
    """A pipeline does not begin in a zone of one worker where another zone has workers for all stages."""
    workers = [*zoned("x", "a"), *zoned("y", "b", "c", "d")]
    assert commands(decide_placement(stages("m", 3), workers, 0.0)) == ["b+m/1/0", "c+m/1/1", "d+m/1/2"]


def test_spread_does_not_begin_a_pipeline_in_a_busier_zone():
    """Fitting counts workers that have little to do."""
    workers = [*zoned("x", "a"), *(view(name, "o/1/0 o/1/1", facts={"zone": "y"}) for name in "bcd")]
    desired = [*stages("o", 2, replicas=3), *stages("m", 2)]
    assert "a+m/1/0" in commands(decide_placement(desired, workers, 0.0))


def test_spread_prefers_other_hosts_to_idle_workers():
    """Two workers of one machine fail together."""
    workers = [
        view("a", facts={"host": "h"}),
        view("b", facts={"host": "h"}),
        view("c", "o/1/0 o/1/1 o/1/2", facts={"host": "i"}),
    ]
    desired = [*stages("m", 1, replicas=2), *stages("o", 3)]
    assert commands(decide_placement(desired, workers, 0.0)) == ["a+m/1/0", "c+m/1/0"]


def test_spread_prefers_other_zones_to_other_hosts():
    """A zone fails as a whole."""
    workers = [
        view("a", facts={"zone": "x", "host": "h"}),
        view("b", facts={"zone": "x", "host": "i"}),
        view("c", facts={"zone": "y", "host": "j"}),
    ]
    assert commands(decide_placement(stages("m", 1, replicas=2), workers, 0.0)) == ["a+m/1/0", "c+m/1/0"]


def test_spread_reads_zones_from_tags_as_well():
    """As for routing: a tag `zone=x` is as good as an attribute."""
    workers = [view(name, tags=frozenset([f"zone={zone}"])) for name, zone in zip("abc", "xxy", strict=True)]
    assert commands(decide_placement(stages("m", 1, replicas=2), workers, 0.0)) == ["a+m/1/0", "c+m/1/0"]


def test_spread_allows_one_more_replica_beside_another():
    """Spread is a preference: three replicas over two zones all have a place."""
    workers = [*zoned("x", "a", "b"), *zoned("y", "c")]
    assert commands(decide_placement(stages("m", 1, replicas=3), workers, 0.0)) == [
        "a+m/1/0",
        "b+m/1/0",
        "c+m/1/0",
    ]


def test_spread_counts_versions_of_a_model_separately():
    """They count as two models."""
    desired = [*stages("m", 2), *stages("m", 2, version=2)]
    views, _ = at_rest(desired, [view("a"), view("b")])
    assert {tuple(sorted({key.split("/")[1] for key in held})) for held in where(views).values()} == {
        ("1", "2")
    }


def test_spread_counts_revisions_of_a_plan_separately():
    """The old one is neither moved nor evicted for it."""
    old, new = stages("m", 2, replicas=2), stages("m", 3, revision=1, replicas=2)
    workers = [view(name, "m/1/0 m/1/1") for name in "abc"[:2]] + [view("c")]
    placement = decide_placement([*old, *new], workers, 0.0)
    assert not placement.evict
    assert placement.routed["m/1/0"] == placement.routed["m/1/1"] == ("a", "b")
    assert Counter(command.stage for command in placement.place) == Counter(
        {"m/1.1/0": 2, "m/1.1/1": 2, "m/1.1/2": 2}
    )


def test_spread_places_first_replicas_before_second_ones():
    """Where there is memory for two stages, a route is complete rather than half of it doubled."""
    workers = [view("a", memory=1), view("b", memory=1)]
    placement = decide_placement(stages("m", 2, replicas=2, peak_bytes=1), workers, 0.0)
    assert sorted(command.stage for command in placement.place) == ["m/1/0", "m/1/1"]


PLACES = st.lists(st.tuples(st.sampled_from("xyz"), st.sampled_from("hi")), min_size=1, max_size=7)


@given(PLACES, st.integers(1, 3), st.integers(1, 4))
def test_spread_is_even_for_any_zones_and_hosts(places, num_stages, replicas):
    """No worker holds a stage twice, zones and hosts differ by no more than they must, and nothing is left to move."""
    workers = [
        view(f"w{index}", facts={"zone": zone, "host": zone + host})
        for index, (zone, host) in enumerate(places)
    ]
    desired = stages("m", num_stages, replicas=replicas)
    placement = decide_placement(desired, workers, 0.0)
    zones = {each.id: each.attributes["zone"] for each in workers}
    for stage in desired:
        holders = [command.worker for command in placement.place if command.stage == stage.key]
        assert len(set(holders)) == len(holders) == min(replicas, len(workers))
        in_zone = Counter(zones[each] for each in holders)
        size = Counter(zones.values())
        for num in in_zone.values():
            for other in size:
                assert num <= in_zone[other] + 1 or in_zone[other] == size[other]
