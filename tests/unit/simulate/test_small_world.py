"""A small mesh in virtual time: what must hold whoever chooses, and however fast."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from benchmarks.simulate.choosers import CHOOSERS, Mesh, Oracle
from benchmarks.simulate.scenario import SLO_S, Scenario
from benchmarks.simulate.world import World

SMALL = Scenario("small", num_workers=24, load=0.6, num_requests=600)
DEATHS = replace(SMALL, deaths=0.25)


def ignore(_):
    return None


@pytest.mark.parametrize("chooser", CHOOSERS, ids=lambda chooser: chooser.name)
def test_every_request_is_answered_once_where_nobody_dies(chooser):
    """None is lost, none is counted twice."""
    outcome = World(SMALL, chooser, 1, ignore).run()
    assert (outcome.failed, outcome.num_requests) == (0.0, 600)


def test_the_same_seed_gives_the_same_figures():
    """Nothing but the seed decides."""
    assert World(DEATHS, Mesh, 7, ignore).run() == World(DEATHS, Mesh, 7, ignore).run()


def test_nobody_is_sent_to_a_worker_that_is_known_to_be_dead():
    """From the moment its gateway noticed on."""
    chosen, picked_dead = Counter(), []

    class Watched(Mesh):
        def choose(self, excluded, remaining_s, now_s):
            worker = super().choose(excluded, remaining_s, now_s)
            if worker is not None:
                chosen[worker.alive] += 1
                picked_dead.extend([worker.id] if worker.id in self.dead else [])
            return worker

    outcome = World(DEATHS, Watched, 3, ignore).run()
    assert not picked_dead
    assert chosen[False] > 0, "no request met a dead worker, so nothing was shown"
    assert outcome.failed == 0.0


def test_what_cannot_be_done_in_time_is_not_answered():
    """Far beyond capacity requests fail, and the share of good ones and of failed ones is at most all."""
    overload = replace(SMALL, load=3.0, deadline_s=SLO_S)
    for chooser in (Mesh, Oracle):
        outcome = World(overload, chooser, 1, ignore).run()
        assert outcome.failed > 0.0
        assert outcome.goodput + outcome.failed <= 1.0
