"""Board of one stage: speed, ejection and location of each replica, as one gateway or scheduler knows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from onnxmesh.estimation.smoothed_average import smoothed
from onnxmesh.routing.kind_speeds import KindSpeeds
from onnxmesh.routing.network import GUESSES, Network
from onnxmesh.routing.outlier_detection import OutlierDetector
from onnxmesh.routing.policy_settings import PolicySettings
from onnxmesh.routing.selectors.preference import MAX_WEIGHT, Preference
from onnxmesh.routing.selectors.selector import Selector
from onnxmesh.routing.spillover import TierUtilisation
from onnxmesh.routing.table.locality import UNKNOWN_LOCALITY, Locality, Nearness
from onnxmesh.routing.table.routed_model import Replica, RoutedStage
from onnxmesh.routing.worker_board import WorkerBoard

_MAX_CACHED = 256
"""Most cached views, and most cached selectors, of one stage."""

_HALF_TRIPS_S = np.array([GUESSES[each].round_trip_s / 2 for each in Nearness])
_S_PER_BYTE = np.array([1.0 / GUESSES[each].bytes_per_s for each in Nearness])


@dataclass(frozen=True, slots=True)
class Origin:
    """The process that sends a request to a stage: the gateway, or the worker of the hop before.

    Attributes:
        node: Its id.
        locality: Its region, zone and host.
    """

    node: str = ""
    locality: Locality = UNKNOWN_LOCALITY


@dataclass(frozen=True, slots=True)
class OriginView:
    """Distance of each replica of a stage from one origin.

    Attributes:
        tiers: Tier of each replica; 0 is the nearest that any replica is in, and so on.
        num_tiers: Number of tiers.
        half_trip_s: Half of the round-trip time to each.
        s_per_byte: Seconds that each byte adds.
        measured: Whether the link to each was measured, not guessed.
        utilisation: Utilisation of the tiers; shared by all views from one zone.
    """

    tiers: NDArray[np.intp]
    num_tiers: int
    half_trip_s: NDArray[np.float64]
    s_per_byte: NDArray[np.float64]
    measured: NDArray[np.bool_]
    utilisation: TierUtilisation


class StageBoard:
    """Everything that one gateway or scheduler knows of the replicas of a stage, in columns. Pure: the time is given.

    Columns are in the order of the route table.

    Attributes:
        stage: The stage and its replicas.
        workers: Slot on the worker board, and id, of each replica's worker.
        slots: The slots alone, as an index into the columns of the worker board.
        compute_s: Compute time of a request: the kind's estimate where the replica's own is near it; an unmeasured replica
            has its kind's, one of an unknown kind that of the slowest known kind.
        per_s: Its inverse: the replica's capacity.
        added_s: When the replica appeared in the route table; -inf: it was in the first one.
        ejected_until_s: End of its ejection.
        typical_s: Moving average of the compute time over all replicas.
        ejecting_until_s: End of the last ejection.
        starting_until_s: End of the last slow start.
        probed_s: When a request was last sent although it was expected to miss its deadline.
        outliers: Decides which replicas are ejected.

    Args:
        stage: The stage and its replicas.
        workers: The worker board; workers of new replicas get a slot there.
        settings: Parameters of the policy.
        now_s: The time.
        previous: The board before the stage's replicas changed.
    """

    def __init__(
        self,
        stage: RoutedStage,
        workers: WorkerBoard,
        settings: PolicySettings,
        *,
        now_s: float,
        previous: StageBoard | None = None,
    ) -> None:
        num = len(stage.replicas)
        self.stage = stage
        self._settings = settings
        self._index: dict[str, int] = {replica.worker: index for index, replica in enumerate(stage.replicas)}
        self.workers = [(workers.slot(each.worker), each.worker) for each in stage.replicas]
        self.slots: NDArray[np.intp] = np.array([slot for slot, _ in self.workers], np.intp)
        self.typical_s: float = settings.nominal_s if previous is None else previous.typical_s
        self.compute_s: NDArray[np.float64] = np.full(num, self.typical_s)
        self._num_measured = np.zeros(num, np.int64)
        self._measured_s: NDArray[np.float64] = self.compute_s.copy()
        self._kinds = KindSpeeds([each.facts.kind for each in stage.replicas], settings)
        self.added_s: NDArray[np.float64] = np.full(num, -np.inf if previous is None else now_s)
        self.ejected_until_s: NDArray[np.float64] = np.zeros(num)
        self.ejecting_until_s = 0.0
        self.starting_until_s = -np.inf
        self.probed_s = -np.inf
        self.outliers = OutlierDetector(((each.worker, each.facts.kind) for each in stage.replicas), settings)
        self._views: dict[tuple[str, str, str, str], tuple[int, OriginView]] = {}
        self._utilisations: dict[tuple[str, str], TierUtilisation] = {}
        self._selected: dict[Selector, NDArray[np.bool_]] = {}
        self._localities: tuple[NDArray[np.str_], NDArray[np.str_], NDArray[np.str_]] | None = None
        self._hosts = {each.facts.locality.host for each in stage.replicas} - {""}
        if previous is not None:
            self._inherit(previous, now_s)
        self.per_s: NDArray[np.float64] = 1.0 / self.compute_s

    @property
    def replicas(self) -> Sequence[Replica]:
        """The replicas, in the order of the columns."""
        return self.stage.replicas

    def index(self, worker: str) -> int | None:
        """Returns the index of the replica on that worker, None if there is none."""
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
        """Returns the value of the preferences for each replica, in seconds."""
        bonus = np.zeros(len(self.replicas))
        for preference in prefer:
            worth_s = self.typical_s * preference.weight / MAX_WEIGHT
            bonus += self.selected(preference.selector) * worth_s
        return bonus

    def view(self, origin: Origin, network: Network) -> OriginView:
        """Returns the distance of each replica from an origin."""
        place = origin.locality
        # Thousands of workers may be the hop before: they share a view unless they differ in zone, host or measured links.
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
            view = self._guessed_view(Locality(place.region, place.zone, host))
        self._views[key] = (revision, view)
        return view

    def observe_compute(self, index: int, compute_s: float, weight: float | None = None) -> None:
        """Records the compute time of a request on a replica, or the average that its worker reported."""
        num = self._num_measured.item(index)
        if weight is None:
            weight = max(self._settings.smoothing, 1.0 / (num + 1))
        compute_s = max(compute_s, 1e-6)
        is_first = not num and not self._num_measured.any()
        self._num_measured[index] = num + 1
        own_s = self._measured_s.item(index)
        own_s = smoothed(own_s, compute_s, weight) if num else compute_s
        self._measured_s[index] = own_s
        step = 1.0 if is_first else self._settings.smoothing / max(1.0, len(self.slots) ** 0.5)
        self.typical_s = smoothed(self.typical_s, compute_s, step)
        self._kinds.observe(index, compute_s)
        self.compute_s[index] = self._kinds.shrunk_s(index, own_s)
        self.per_s[index] = 1.0 / self.compute_s.item(index)
        if not num:
            unmeasured = self._num_measured == 0
            self.compute_s[unmeasured] = self._kinds.typical_s(unmeasured, self.typical_s)
            self.per_s[unmeasured] = 1.0 / self.compute_s[unmeasured]

    def set_expected(self, compute_s: NDArray[np.float64]) -> None:
        """Sets the expected compute time of each replica, before any was measured."""
        self.compute_s = compute_s
        self.per_s = 1.0 / compute_s
        self.typical_s = float(np.median(compute_s))

    def eject(self, index: int, until_s: float) -> None:
        """Ejects a replica until then."""
        self.ejected_until_s[index] = until_s
        self.ejecting_until_s = max(self.ejecting_until_s, until_s)

    def end_ejection(self, index: int) -> None:
        """Ends a replica's ejection early."""
        self.outliers.end_ejection(self.replicas[index].worker)
        self.ejected_until_s[index] = 0.0

    def release_ejections(self) -> None:
        """Ends every ejection."""
        self.outliers.release_ejections()
        self.ejected_until_s[:] = 0.0
        self.ejecting_until_s = 0.0

    def _inherit(self, previous: StageBoard, now_s: float) -> None:
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
            self.added_s[index] = previous.added_s[old]
        self._kinds.inherit(previous._kinds)
        unmeasured = self._num_measured == 0
        self.compute_s[unmeasured] = self._kinds.typical_s(unmeasured, self.typical_s)
        self.outliers.inherit(previous.outliers, (self.replicas[index].worker for index, _ in kept), now_s)
        for index, each in enumerate(self.replicas):
            until_s = self.outliers[each.worker].ejected_until_s
            if until_s > now_s:
                self.eject(index, until_s)
        if len(self.added_s):
            self.starting_until_s = float(self.added_s.max()) + self._settings.slow_start_s

    def _guessed_view(self, place: Locality) -> OriginView:
        nearness = self._nearness(place)
        levels, tiers = np.unique(np.maximum(nearness, Nearness.ZONE), return_inverse=True)
        zone = (place.region, place.zone)
        utilisation = self._utilisations.get(zone)
        if utilisation is None:
            utilisation = TierUtilisation(len(levels), self._settings.utilisation_decisions)
            self._utilisations[zone] = utilisation
        return OriginView(
            tiers=tiers.astype(np.intp),
            num_tiers=len(levels),
            half_trip_s=_HALF_TRIPS_S[nearness],
            s_per_byte=_S_PER_BYTE[nearness],
            measured=np.zeros(len(nearness), np.bool_),
            utilisation=utilisation,
        )

    def _nearness(self, place: Locality) -> NDArray[np.intp]:
        """Returns `place.nearness` of every replica, vectorised: boards of thousands are seen from many origins."""
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

    def _measured_view(self, guessed: OriginView, node: str, network: Network) -> OriginView:
        """Returns a view with the measured links of one process in place of guesses."""
        half_trip_s, s_per_byte = guessed.half_trip_s.copy(), guessed.s_per_byte.copy()
        measured = guessed.measured.copy()
        for target, link in network.links(node).items():
            if (index := self.index(target)) is not None:
                half_trip_s[index] = link.round_trip_s / 2
                if link.bytes_per_s is not None:
                    s_per_byte[index] = 1.0 / link.bytes_per_s
                measured[index] = True
        return replace(guessed, half_trip_s=half_trip_s, s_per_byte=s_per_byte, measured=measured)
