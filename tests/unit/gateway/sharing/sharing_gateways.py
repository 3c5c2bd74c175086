"""Gateways that share live state without a Redis: each sees the entries of all at once."""

from __future__ import annotations

from random import Random

from onnxmesh.live.embedded import EmbeddedLiveState
from onnxmesh.routing.balancer import Balancer
from onnxmesh.routing.stage_board import Origin
from onnxmesh.routing.table.routed_model import Replica, RoutedStage
from services.gateway.sharing.ejection_sharing import EjectionSharing
from services.gateway.sharing.link_sharing import LinkSharing

STAGE = "m/1/0"


class MeshLiveState:
    """Live state of one gateway, which receives the entries of the others at once."""

    def __init__(self, name, mesh, clock):
        self.own = EmbeddedLiveState(name, clock=clock)
        self.mesh = mesh
        mesh.append(self.own)
        self.publish, self.withdraw = self.own.publish, self.own.withdraw

    def entries(self, topic):
        found = {}
        for each in self.mesh:
            for key, entries in each.entries(topic).items():
                found.setdefault(key, []).extend(entries)
        return {key: tuple(sorted(entries, key=lambda each: each.age_s)) for key, entries in found.items()}


class SharingGateway:
    """The parts of a gateway that choose and share, over one stage of these workers."""

    def __init__(self, name, mesh, clock, workers="abc"):
        self.clock = clock
        self.generations = dict.fromkeys(workers, 1)
        self.balancer = Balancer(Origin(name), Random(1))
        self.stage = RoutedStage(STAGE, tuple(Replica(each, f"{each}:1", 1) for each in workers))
        self.board = self.balancer.board(self.stage, clock())
        self.live = MeshLiveState(name, mesh, clock)
        self.ejections = EjectionSharing(name, self.live, self.balancer.ejections, clock=clock)
        self.links = LinkSharing(
            name, self.live, observe=self.balancer.network.observe, generation=self.generations.get
        )

    def fail(self, worker):
        for _ in range(5):
            self.balancer.observe_failure(worker, [STAGE], self.clock())

    @property
    def ejected(self):
        return {
            each.worker
            for each, until_s in zip(self.board.replicas, self.board.ejected_until_s, strict=True)
            if until_s > self.clock()
        }
