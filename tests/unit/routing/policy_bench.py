"""A balancer over one stage."""

from __future__ import annotations

from collections import Counter
from random import Random

from onnxmesh.ids import StageKey
from onnxmesh.routing.balancer import Balancer
from onnxmesh.routing.no_route import NoRoute
from onnxmesh.routing.policy_settings import PolicySettings
from onnxmesh.routing.route_query import RouteQuery
from onnxmesh.routing.stage_board import Origin
from onnxmesh.routing.table.locality import Locality
from onnxmesh.routing.table.routed_model import Replica, RoutedStage
from onnxmesh.routing.table.worker_facts import WorkerFacts

KEY = StageKey("m/1/0")
HOME = Origin("g", Locality("r", "near"))
NO_LUCK = PolicySettings(explore=0.0)


def alive(_):
    return True


class Bench:
    """A balancer over one stage whose workers are given as `name: zone`."""

    def __init__(self, zones, settings=NO_LUCK, seed=0, attributes=None):
        self.now_s = 0.0
        self.balancer = Balancer(HOME, Random(seed), settings)
        self.stage = self.staged(zones, attributes or {})
        self.board = self.balancer.board(self.stage, self.now_s)

    def staged(self, zones, attributes):
        return RoutedStage(
            KEY,
            tuple(
                Replica(
                    name,
                    f"{name}:1",
                    1,
                    WorkerFacts((), {"region": "r", "zone": zone, **attributes.get(name, {})}),
                )
                for name, zone in zones.items()
            ),
        )

    def measure(self, compute_s):
        for worker, each_s in compute_s.items():
            self.balancer.observe_answer(KEY, worker, each_s, self.now_s)

    def load(self, work_s):
        for worker, each_s in work_s.items():
            self.balancer.observe_report(worker, each_s, {}, self.now_s)

    def route(self, query=None, is_live=alive):
        return self.balancer.pick_route([self.stage], is_live, self.now_s, query or RouteQuery())

    def pick(self, query=None, is_live=alive):
        route = self.route(query, is_live)
        return None if isinstance(route, NoRoute) else route[0].worker

    def picks(self, num, query=None):
        return Counter(self.pick(query) for _ in range(num))

    def explained(self, query=None, is_live=alive):
        (found,) = self.balancer.explain([self.stage], is_live, self.now_s, query or RouteQuery())
        return found


def in_zone(*names):
    return dict.fromkeys(names, "near")
