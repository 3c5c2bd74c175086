"""A small mesh in virtual time: invariants under any policy and speed."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from benchmarks.simulate.choosers import CHOOSERS, Mesh, Oracle
from benchmarks.simulate.request_counters import RequestCounters
from benchmarks.simulate.scenario import SCENARIOS, SLO_S, Scenario
from benchmarks.simulate.world import World

SMALL = Scenario("small", num_workers=24, load=0.6, num_requests=600)
DEATHS = replace(SMALL, deaths=0.25)
PIPELINE = replace(SMALL, num_stages=3)


def ignore(_):
    return None


@pytest.mark.parametrize("scenario", [SMALL, PIPELINE], ids=["one stage", "three stages"])
@pytest.mark.parametrize("chooser", CHOOSERS, ids=lambda chooser: chooser.name)
def test_simulation_answers_every_request_once_where_no_process_dies(chooser, scenario):
    """None is lost, none is counted twice."""
    outcome = World(scenario, chooser, 1, ignore).run()
    assert (outcome.num_failed, outcome.num_requests) == (0, 600)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_simulation_of_every_scenario_ends(scenario):
    """However little of it is run: each request is answered or refused, and what crosses zones is a share."""
    few = replace(scenario, num_workers=24, num_requests=300)
    for chooser in (Mesh, Oracle):
        outcome = World(few, chooser, 1, ignore).run()
        assert outcome.goodput + outcome.failed <= 1.0
        assert 0.0 <= outcome.cross_zone <= 1.0


def test_simulation_refuses_a_request_that_ends_twice():
    """Counting it again raises."""
    counters = RequestCounters(0, 2, lambda: None, ignore)
    request = counters.begin(0, 0.0, 1.0)
    counters.answered(request, 0.5, spilled=False)
    with pytest.raises(AssertionError):
        counters.failed(request)


def test_simulation_with_the_same_seed_gives_the_same_figures():
    """Nothing but the seed decides."""
    assert World(DEATHS, Mesh, 7, ignore).run() == World(DEATHS, Mesh, 7, ignore).run()


def test_gateway_sends_nothing_to_a_worker_that_is_known_to_be_dead():
    """From the moment its gateway noticed on."""
    chosen, picked_dead = Counter(), []

    class Watched(Mesh):
        def choose(self, excluded, remaining_s, now_s):
            choice = super().choose(excluded, remaining_s, now_s)
            for worker in () if choice is None else choice.workers:
                chosen[worker.alive] += 1
                picked_dead.extend([worker.id] if worker.id in self.dead else [])
            return choice

    outcome = World(DEATHS, Watched, 3, ignore).run()
    assert not picked_dead
    assert chosen[False] > 0, "no request met a dead worker, so nothing was shown"
    assert outcome.failed == 0.0


def test_simulation_does_not_answer_requests_that_cannot_meet_their_deadline():
    """Far beyond capacity requests fail, and the share of good ones and of failed ones is at most all."""
    overload = replace(SMALL, load=3.0, deadline_s=SLO_S)
    for chooser in (Mesh, Oracle):
        outcome = World(overload, chooser, 1, ignore).run()
        assert outcome.failed > 0.0
        assert outcome.goodput + outcome.failed <= 1.0


def test_zone_beyond_its_capacity_spills_the_rest():
    """The policy keeps requests in the zone up to its capacity, and all are answered."""
    saturated = replace(SMALL, load=2.6 / 3, cv=1.0, skew=1.6 / 2.6, num_requests=3000)
    outcome = World(saturated, Mesh, 1, ignore).run()
    assert outcome.num_failed == 0
    assert 1 - 1 / 1.6 - 0.1 < outcome.spilled < 0.7


def test_bytes_between_stages_are_counted_where_they_cross():
    """Round robin looks at no zone: of three places that bytes go to two are elsewhere, between stages too."""
    outcome = World(PIPELINE, next(each for each in CHOOSERS if each.name == "random"), 1, ignore).run()
    assert outcome.cross_zone == pytest.approx(2 / 3, abs=0.05)
