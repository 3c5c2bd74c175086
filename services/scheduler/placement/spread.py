"""Spread: how well replicas are distributed, and what a move would gain. Pure.

A placement has six figures, in this order of weight: replicas that are not where the plan assigns them; for each stage
the squares of its replicas in each zone, and on each host; the squares of the stages on each worker; for each two
stages that follow each other by how much their replicas in each zone differ, so that a pipeline is whole in its zone;
the squares of the work on each worker. A move is made only if the first figure that it changes decreases. All are
whole numbers and none is below zero: moves end.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from services.scheduler.desired.desired_stages import DesiredStage
from services.scheduler.placement.placement_state import PlacementState, cost_ns
from services.scheduler.placement.worker_columns import NO_HOME


class Gain(IntEnum):
    """The most important placement criterion that a move improves."""

    HOME = 0
    ZONE = 1
    HOST = 2
    EVENNESS = 3
    PIPELINE = 4
    WORK = 5
    NONE = 6


@dataclass(frozen=True, slots=True)
class Spread:
    """Assesses a placement state as it is now.

    Attributes:
        state: The state.
    """

    state: PlacementState

    def gains(self, stage: DesiredStage, source: int) -> NDArray[np.intp]:
        """Returns for each worker the `Gain` of moving a replica there; NONE where there is no gain."""
        found = np.full(len(self.state.columns), Gain.NONE, np.intp)
        open_ = np.ones(len(found), np.bool_)
        changes = (
            self._home_changes(stage, source),
            self._zone_changes(stage, source),
            self._host_changes(stage, source),
            self.state.num_stages - self.state.num_stages[source] + 1,
            self._pipeline_changes(stage, source),
            self.state.work_ns - self.state.work_ns[source] + cost_ns(stage),
        )
        for gain, change in enumerate(changes):
            if change is not None:
                found[open_ & (change < 0)] = gain
                open_ &= change == 0
        return found

    def worst(self, stage: DesiredStage, replicas: list[int]) -> int:
        """Returns the replica without which the figures are least: the last one among equals."""
        state = self.state
        strays = set(self.strays(stage))
        in_zones, on_hosts = state.in_zones(stage), state.on_hosts(stage)
        columns = state.columns

        def rank(worker: int) -> tuple[int, ...]:
            return (
                worker in strays,
                int(in_zones[columns.zones[worker]]),
                int(on_hosts[columns.hosts[worker]]),
                int(state.num_stages[worker]),
                -int(self._pipeline_loss(stage, worker)),
                int(state.work_ns[worker]),
                worker,
            )

        return max(replicas, key=rank)

    def strays(self, stage: DesiredStage) -> list[int]:
        """Returns the workers that hold a stage and are not assigned to it, or too many of one home."""
        if not stage.homes:
            return []
        homes, num_at = self.state.columns.homes(stage.homes), self.state.at_homes(stage)
        return [
            worker
            for worker in self.state.holders[stage.key]
            if (home := int(homes[worker])) == NO_HOME or num_at[home] > stage.homes[home].count
        ]

    def vacant(self, stage: DesiredStage) -> NDArray[np.bool_]:
        """Returns which workers are of a home that has fewer replicas than assigned."""
        num_at = self.state.at_homes(stage)
        vacant = [num_at[number] < home.count for number, home in enumerate(stage.homes)]
        # A worker without a home has index -1: the last element.
        return np.array([*vacant, False], np.bool_)[self.state.columns.homes(stage.homes)]

    def is_split(self, stage: DesiredStage) -> bool:
        """Whether any zone has more or fewer replicas of a stage than of one of its neighbours."""
        return self._pipeline_figure(stage) > 0

    def _home_changes(self, stage: DesiredStage, source: int) -> NDArray[np.intp] | None:
        if not stage.homes:
            return None
        homes = self.state.columns.homes(stage.homes)
        gain = source in self.strays(stage)
        changes = np.where(self.vacant(stage), 0, 1) - int(gain)
        changes[homes == homes[source]] = 0
        return changes

    def _zone_changes(self, stage: DesiredStage, source: int) -> NDArray[np.intp]:
        zones, here = self.state.columns.zones, self.state.columns.zones[source]
        in_zones = self.state.in_zones(stage)
        return np.where(zones == here, 0, in_zones[zones] - in_zones[here] + 1)

    def _host_changes(self, stage: DesiredStage, source: int) -> NDArray[np.intp]:
        hosts, on_hosts = self.state.columns.hosts, self.state.on_hosts(stage)
        here = hosts[source]
        return np.where(hosts == here, 0, on_hosts[hosts] - on_hosts[here] + 1)

    def _pipeline_changes(self, stage: DesiredStage, source: int) -> NDArray[np.intp] | None:
        columns = self.state.columns
        if columns.num_zones < 2:
            return None
        here = columns.zones[source]
        own = self.state.in_zones(stage)
        by_zone = np.zeros(columns.num_zones, np.intp)
        for other in self._neighbours(stage):
            more = own - self.state.in_zones(other)
            by_zone += np.abs(more + 1) - np.abs(more) + np.abs(more[here] - 1) - np.abs(more[here])
        by_zone[here] = 0
        return by_zone[columns.zones]

    def _pipeline_figure(self, stage: DesiredStage) -> int:
        own = self.state.in_zones(stage)
        return sum(int(np.abs(own - self.state.in_zones(each)).sum()) for each in self._neighbours(stage))

    def _pipeline_loss(self, stage: DesiredStage, worker: int) -> int:
        """Returns by how much pipelines are less whole, or more, without a replica."""
        if self.state.columns.num_zones < 2:
            return 0
        here = self.state.columns.zones[worker]
        own = self.state.in_zones(stage)[here]
        loss = 0
        for other in self._neighbours(stage):
            more = int(own - self.state.in_zones(other)[here])
            loss += abs(more - 1) - abs(more)
        return loss

    def _neighbours(self, stage: DesiredStage) -> list[DesiredStage]:
        return [each for each in self.state.neighbours(stage) if each is not None]
