"""What one chooser knows of the replicas of one stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from onnxmesh.routing.kind_speeds import KindSpeeds
from onnxmesh.routing.network import GUESSES, Network
from onnxmesh.routing.outliers import Outliers
from onnxmesh.routing.policy_settings import PolicySettings
from onnxmesh.routing.selectors.preference import MAX_WEIGHT, Preference
from onnxmesh.routing.selectors.selector import Selector
from onnxmesh.routing.spill import Pressure
from onnxmesh.routing.table.locality import NOWHERE, Locality, Nearness
from onnxmesh.routing.table.routed_model import Replica, RoutedStage
from onnxmesh.routing.worker_board import WorkerBoard

_MAX_CACHED = 256
"""Views, and selectors, that are kept for one stage."""

_HALF_TRIPS_S = np.array([GUESSES[each].round_trip_s / 2 for each in Nearness])
_S_PER_BYTE = np.array([1.0 / GUESSES[each].bytes_per_s for each in Nearness])


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request comes from when a stage is chosen for it.

    Attributes:
        node: The worker of the hop before, or the gateway.
        locality: Where that is.
    """

    node: str = ""
    locality: Locality = NOWHERE


@dataclass(frozen=True, slots=True)
class View:
    """The replicas of a stage as seen from one place.

    Attributes:
        tiers: For each replica its tier: 0 is the nearest that any replica is in, and so on.
        num_tiers: How many there are.
        half_trip_s: Half of the round trip to each.
        s_per_byte: What each byte adds.
        measured: Whether the way to each was measured, not guessed.
        pressure: Of the tiers; shared by all views from one zone.
    """

    tiers: NDArray[np.intp]
    num_tiers: int
    half_trip_s: NDArray[np.float64]
    s_per_byte: NDArray[np.float64]
    measured: NDArray[np.bool_]
    pressure: Pressure


class StageBoard:
    """Replicas in columns, in the order of the route table. Pure: the time is given.

    Attributes:
        stage: The stage and its replicas.
        places: Each replica's slot and worker.
        slots: Each replica's place in the columns of its worker.
        compute_s: What a request takes to compute there: about what its kind takes, where it measures about that; a
            replica that nobody has measured has its kind's figure, one of an unknown kind that of the slowest kind known.
        per_s: Its inverse: the replica's capacity.
        begun_s: When it was first heard of; -inf: it was there from the start.
        ejected_until_s: When its ejection ends.
        typical_s: Smoothed over the answers of all replicas.
        ejecting_until_s: When the last ejection ends.
        starting_until_s: When the last slow start ends.
        probed_s: When a request last was let pass that would have been refused for its deadline.
        outliers: Judges the replicas.
    """

    def __init__(
        self,
        stage: RoutedStage,
        workers: WorkerBoard,
        settings: PolicySettings,
        now_s: float,
        previous: StageBoard | None = None,
    ) -> None:
        num = len(stage.replicas)
        self.stage = stage
        self._settings = settings
        self._index: dict[str, int] = {replica.worker: index for index, replica in enumerate(stage.replicas)}
        self.places = [(workers.slot(each.worker), each.worker) for each in stage.replicas]
        self.slots: NDArray[np.intp] = np.array([slot for slot, _ in self.places], np.intp)
        self.typical_s: float = settings.nominal_s if previous is None else previous.typical_s
        self.compute_s: NDArray[np.float64] = np.full(num, self.typical_s)
        self._num_measured = np.zeros(num, np.int64)
        self._measured_s: NDArray[np.float64] = self.compute_s.copy()
        self._kinds = KindSpeeds([each.facts.kind for each in stage.replicas], settings)
        self.begun_s: NDArray[np.float64] = np.full(num, -np.inf if previous is None else now_s)
        self.ejected_until_s: NDArray[np.float64] = np.zeros(num)
        self.ejecting_until_s = 0.0
        self.starting_until_s = -np.inf
        self.probed_s = -np.inf
        self.outliers = Outliers(((each.worker, each.facts.kind) for each in stage.replicas), settings)
        self._views: dict[tuple[str, str, str, str], tuple[int, View]] = {}
        self._pressures: dict[tuple[str, str], Pressure] = {}
        self._selected: dict[Selector, NDArray[np.bool_]] = {}
        self._localities: tuple[NDArray[np.str_], NDArray[np.str_], NDArray[np.str_]] | None = None
        self._hosts = {each.facts.locality.host for each in stage.replicas} - {""}
        if previous is not None:
            self._take_over(previous, now_s)
        self.per_s: NDArray[np.float64] = 1.0 / self.compute_s

    @property
    def replicas(self) -> Sequence[Replica]:
        """The replicas, in the order of the columns."""
        return self.stage.replicas

    def index(self, worker: str) -> int | None:
        """Returns the place of the replica on that worker, None if it has none."""
        return self._index.get(worker)

    def selected(self, selector: Selector) -> NDArray[np.bool_]:
        """Returns whether each replica meets a selector."""
        found = self._selected.get(selector)
        if found is None:
            if len(self._selected) >= _MAX_CACHED:
                self._selected.clear()
            found = np.array([selector.selects(each.facts.labels) for each in self.replicas], np.bool_)
            self._selected[selector] = found
        return found

    def bonus_s(self, prefer: Sequence[Preference]) -> NDArray[np.float64]:
        """Returns what the preferences are worth for each replica, in seconds."""
        bonus = np.zeros(len(self.replicas))
        for preference in prefer:
            worth_s = self.typical_s * preference.weight / MAX_WEIGHT
            bonus += self.selected(preference.selector) * worth_s
        return bonus

    def view(self, origin: Origin, network: Network) -> View:
        """Returns the replicas as seen from a place."""
        place = origin.locality
        # Thousands of workers may be the hop before: they share a view unless something tells them apart.
        host = place.host if place.host in self._hosts else ""
        revision = network.revision(origin.node)
        node = origin.node if revision else ""
        key = (node, place.region, place.zone, host)
        cached = self._views.get(key)
        if cached is not None and cached[0] == revision:
            return cached[1]
        if len(self._views) >= _MAX_CACHED:
            self._views.clear()
        if node:
            view = self._measured_view(self.view(Origin("", place), network), node, network)
        else:
            view = self._seen(Locality(place.region, place.zone, host))
        self._views[key] = (revision, view)
        return view

    def measured(self, index: int, compute_s: float, weight: float | None = None) -> None:
        """Takes how long a replica computed for a request, or on average as it says itself."""
        num = self._num_measured.item(index)
        if weight is None:
            weight = max(self._settings.smoothing, 1.0 / (num + 1))
        compute_s = max(compute_s, 1e-6)
        is_first = not num and not self._num_measured.any()
        self._num_measured[index] = num + 1
        own_s = self._measured_s.item(index)
        own_s = own_s + weight * (compute_s - own_s) if num else compute_s
        self._measured_s[index] = own_s
        step = 1.0 if is_first else self._settings.smoothing / max(1.0, len(self.slots) ** 0.5)
        self.typical_s += step * (compute_s - self.typical_s)
        self._kinds.measured(index, compute_s)
        self.compute_s[index] = self._kinds.shrunk_s(index, own_s)
        self.per_s[index] = 1.0 / self.compute_s.item(index)
        if not num:
            unmeasured = self._num_measured == 0
            self.compute_s[unmeasured] = self._kinds.usual_s(unmeasured, self.typical_s)
            self.per_s[unmeasured] = 1.0 / self.compute_s[unmeasured]

    def expect(self, compute_s: NDArray[np.float64]) -> None:
        """Takes how long each replica is expected to compute for a request, before anyone has measured it."""
        self.compute_s = compute_s
        self.per_s = 1.0 / compute_s
        self.typical_s = float(np.median(compute_s))

    def eject(self, index: int, until_s: float) -> None:
        """Takes that a replica is ejected for a while."""
        self.ejected_until_s[index] = until_s
        self.ejecting_until_s = max(self.ejecting_until_s, until_s)

    def lift(self, index: int) -> None:
        """Takes that a replica's ejection ends early."""
        self.outliers.lift(self.replicas[index].worker)
        self.ejected_until_s[index] = 0.0

    def release(self) -> None:
        """Ends every ejection."""
        self.outliers.release()
        self.ejected_until_s[:] = 0.0
        self.ejecting_until_s = 0.0

    def _take_over(self, previous: StageBoard, now_s: float) -> None:
        kept = [
            (index, old)
            for index, each in enumerate(self.replicas)
            if (old := previous.index(each.worker)) is not None
            and previous.replicas[old].generation == each.generation
        ]
        for index, old in kept:
            self.compute_s[index] = previous.compute_s[old]
            self._measured_s[index] = previous._measured_s[old]
            self._num_measured[index] = previous._num_measured[old]
            self.begun_s[index] = previous.begun_s[old]
        self._kinds.take_over(previous._kinds)
        unmeasured = self._num_measured == 0
        self.compute_s[unmeasured] = self._kinds.usual_s(unmeasured, self.typical_s)
        self.outliers.take_over(previous.outliers, (self.replicas[index].worker for index, _ in kept), now_s)
        for index, each in enumerate(self.replicas):
            until_s = self.outliers[each.worker].ejected_until_s
            if until_s > now_s:
                self.eject(index, until_s)
        if len(self.begun_s):
            self.starting_until_s = float(self.begun_s.max()) + self._settings.slow_start_s

    def _seen(self, place: Locality) -> View:
        nearness = self._nearness(place)
        levels, tiers = np.unique(np.maximum(nearness, Nearness.ZONE), return_inverse=True)
        zone = (place.region, place.zone)
        pressure = self._pressures.get(zone)
        if pressure is None:
            pressure = Pressure(len(levels), self._settings.pressure_decisions)
            self._pressures[zone] = pressure
        return View(
            tiers=tiers.astype(np.intp),
            num_tiers=len(levels),
            half_trip_s=_HALF_TRIPS_S[nearness],
            s_per_byte=_S_PER_BYTE[nearness],
            measured=np.zeros(len(nearness), np.bool_),
            pressure=pressure,
        )

    def _nearness(self, place: Locality) -> NDArray[np.intp]:
        """Returns `place.nearness` of every replica; boards of thousands are seen from many places."""
        if self._localities is None:
            places = [each.facts.locality for each in self.replicas]
            self._localities = (
                np.array([each.region for each in places], np.str_),
                np.array([each.zone for each in places], np.str_),
                np.array([each.host for each in places], np.str_),
            )
        regions, zones, hosts = self._localities
        nearness = np.full(len(self.replicas), Nearness.ZONE, np.intp)
        if place.host:
            nearness[hosts == place.host] = Nearness.HOST
        if place.zone:
            nearness[(zones != "") & (zones != place.zone)] = Nearness.REGION
        if place.region:
            nearness[(regions != "") & (regions != place.region)] = Nearness.FAR
        return nearness

    def _measured_view(self, guessed: View, node: str, network: Network) -> View:
        """Returns a view with what was measured from one process in place of guesses."""
        half_trip_s, s_per_byte = guessed.half_trip_s.copy(), guessed.s_per_byte.copy()
        measured = guessed.measured.copy()
        for target, way in network.links(node).items():
            if (index := self.index(target)) is not None:
                half_trip_s[index] = way.round_trip_s / 2
                if way.bytes_per_s is not None:
                    s_per_byte[index] = 1.0 / way.bytes_per_s
                measured[index] = True
        return replace(guessed, half_trip_s=half_trip_s, s_per_byte=s_per_byte, measured=measured)
