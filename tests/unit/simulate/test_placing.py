"""The scheduler in virtual time: it decides by `decide_placement`, and gateways use its tables."""

from __future__ import annotations

from collections import Counter

import pytest
import simpy

from benchmarks.simulate.choosers import CHOOSERS, Mesh, PowerOfTwo
from benchmarks.simulate.fleet import Fleet
from benchmarks.simulate.placing import LOAD_S, NOTICED_S, PUBLISHED_S, Scheduler, stages_of
from benchmarks.simulate.scenario import Scenario
from benchmarks.simulate.world import World
from services.scheduler.placement.placement import decide_placement
from services.scheduler.workers.worker_view import WorkerView

SMALL = Scenario("small", num_workers=24, num_stages=2, held=0.75)
DRAIN = Scenario(
    "rolling", num_workers=12, load=0.1, cv=1.0, num_requests=4_000, num_stages=2, held=0.75, rolling=True
)
LOST = Scenario("zone lost", num_workers=12, load=0.3, cv=1.0, num_requests=4_000, held=0.5, zone_lost=True)


def ignore(_):
    return None


class Bench:
    """A fleet and its scheduler, without gateways or requests."""

    def __init__(self, scenario):
        self.env = simpy.Environment()
        self.fleet = Fleet(self.env, scenario, None)
        self.tables = []
        self.scheduler = Scheduler(self.env, self.fleet, stages_of(scenario), self.tables.append)

    def routed(self):
        return {
            stage.key: [replica.worker for replica in stage.replicas] for stage in self.scheduler.table.stages
        }

    def num_served(self):
        return [len(workers) for workers in self.routed().values()]


def test_placement_starts_with_what_decide_returns():
    """One decision over empty workers: the same stages on the same workers, evenly over zones."""
    bench, desired = Bench(SMALL), stages_of(SMALL)
    views = [WorkerView(each.id, attributes=each.facts.attributes) for each in bench.fleet.workers]
    placed = {(command.worker, command.stage) for command in decide_placement(desired, views, 0.0).place}
    assert {(each.id, key) for each in bench.fleet.workers for key in each.held} == placed
    for workers in bench.routed().values():
        assert Counter(bench.fleet.by_id[id_].zone for id_ in workers) == {0: 3, 1: 3, 2: 3}


def test_drained_worker_is_empty_only_when_its_stage_is_served_elsewhere():
    """At no moment is the stage on fewer workers than desired, in the table or in fact."""
    bench = Bench(SMALL)
    ended = bench.scheduler.drain(next(each for each in bench.fleet.workers if each.held))
    while not ended.processed:
        bench.env.step()
        assert bench.num_served() == [9, 9]
        for stage in stages_of(SMALL):
            assert sum(stage.key in each.held for each in bench.fleet.workers) >= 9
    assert bench.env.now >= LOAD_S
    bench.env.run()
    assert all(id_ != "w00000" for workers in bench.routed().values() for id_ in workers)


def test_dead_worker_is_replaced_once_its_death_is_noticed():
    """Not before; then the table is without it at once, and a spare has its stage after it is loaded."""
    bench = Bench(SMALL)
    dead = next(each for each in bench.fleet.workers if each.held)
    bench.fleet.kill(dead)
    bench.scheduler.died([dead])
    bench.env.run(until=NOTICED_S - 0.001)
    assert not bench.tables
    bench.env.run(until=NOTICED_S + PUBLISHED_S + 0.001)
    assert dead.id in bench.tables[-1].removed
    assert sorted(bench.num_served()) == [8, 9]
    bench.env.run()
    assert bench.num_served() == [9, 9]


@pytest.mark.parametrize("chooser", CHOOSERS, ids=lambda chooser: chooser.name)
def test_rolling_drain_answers_every_request(chooser):
    """All of them are restarted, under any policy, and no request fails."""
    outcome = World(DRAIN, chooser, 5, ignore).run()
    assert (outcome.num_restarted, outcome.num_failed) == (12, 0)


@pytest.mark.parametrize("chooser", [Mesh, PowerOfTwo], ids=lambda chooser: chooser.name)
def test_gateway_sends_nothing_to_a_worker_whose_death_was_published(chooser):
    """A zone dies; once gateways have the table without it no worker there is chosen, whatever else they know."""
    removed, sent = set(), Counter()

    class Watched(chooser):
        def on_table(self, table):
            super().on_table(table)
            removed.update(table.removed)

        def lost(self, worker, generation):
            """Ignores lost streams: only the table removes workers."""

        def choose(self, excluded, remaining_s, now_s):
            choice = super().choose(excluded, remaining_s, now_s)
            for worker in () if choice is None else choice.workers:
                assert worker.id not in removed
                sent[worker.alive, bool(removed)] += 1
            return choice

    World(LOST, Watched, 2, ignore).run()
    assert sent[False, False] > 0, "nothing was sent to the dead before the table removed them"
    assert sent[True, True] > 0, "nothing was sent after the table removed them"
    assert not sent[False, True]
    assert len(removed) == 4
