"""Whether requests are cut into micro-batches, by what their stages and ways were measured to take."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from onnxmesh.ids import StageKey, WorkerId
from onnxmesh.routing.balancer import Route
from onnxmesh.routing.network import GUESSES, MeasuredLink, Network
from onnxmesh.routing.stage_board import Origin
from onnxmesh.routing.table.routed_model import Replica, RoutedModel
from onnxmesh.v1.frame_pb2 import HopTiming
from services.gateway.batching.run_times import RunTimes
from services.gateway.batching.split_plan import Leg, num_pieces, num_to_try, sizes
from services.gateway.batching.split_trials import SplitTrials


class MicroBatcher:
    """Learns from requests with several rows, and cuts later ones. Pure.

    Args:
        home: The gateway and where it is.
        network: What is known of the ways between processes.
    """

    def __init__(self, home: Origin, network: Network) -> None:
        self._home = home
        self._network = network
        self._costs: dict[tuple[StageKey, WorkerId], RunTimes] = {}
        self._row_bytes: dict[StageKey, float] = {}
        self._records: defaultdict[tuple[StageKey, int], SplitTrials] = defaultdict(SplitTrials)

    def pieces(self, rows: int, model: RoutedModel, route: Route) -> list[int]:
        """Returns the rows of each micro-batch of a request; all in one where nothing is gained, or nothing known."""
        if model.splitting is None or not model.splitting.allows(rows, route):
            return [rows]
        legs = []
        origin = self._home
        for stage, replica in zip(model.stages, route, strict=True):
            cost = self._costs.get((stage.key, replica.worker))
            if cost is None:
                return [rows]
            latency_s, byte_s = self._way(origin, replica)
            legs.append(
                Leg(
                    replica.worker,
                    *cost.line,
                    least_rows=cost.least_rows,
                    latency_s=latency_s,
                    wire_row_s=byte_s * self._row_bytes.get(stage.key, 0.0),
                )
            )
            origin = Origin(replica.worker, replica.facts.locality)
        num = num_pieces(rows, legs)
        if num == 1:
            num = num_to_try(rows, legs)
        return sizes(rows, num if num > 1 and self._record(rows, model).next_is_cut() else 1)

    def took(self, rows: int, model: RoutedModel, seconds: float, num: int) -> None:
        """Takes how long a request took in so many pieces."""
        self._record(rows, model).took(seconds / rows, cut=num > 1)

    def learn(self, rows: int, timings: Iterable[HopTiming]) -> None:
        """Takes what the hops of an answered request, or of a piece of one, with so many rows measured."""
        for timing in timings:
            stage = StageKey(timing.stage)
            cost = self._costs.setdefault((stage, WorkerId(timing.worker)), RunTimes())
            cost.ran(timing.rows or rows, timing.compute_ns / 1e9)
            self._row_bytes[stage] = timing.tensor_bytes / rows

    def forget(self, stages: Iterable[StageKey], workers: Iterable[WorkerId]) -> None:
        """Forgets stages and workers that are gone."""
        stages, workers = set(stages), set(workers)
        if stages or workers:
            self._costs = {
                (stage, worker): cost
                for (stage, worker), cost in self._costs.items()
                if stage not in stages and worker not in workers
            }
            for stage in stages:
                self._row_bytes.pop(stage, None)
            for record in [each for each in self._records if each[0] in stages]:
                del self._records[record]

    def _record(self, rows: int, model: RoutedModel) -> SplitTrials:
        """Returns what is known of requests of about that size: others are compared apart."""
        return self._records[model.stages[0].key, rows.bit_length()]

    def _way(self, origin: Origin, replica: Replica) -> tuple[float, float]:
        """Returns seconds that the way to a replica takes, and seconds for each byte more."""
        if origin.node == replica.worker:
            return 0.0, 0.0
        guess = GUESSES[origin.locality.nearness(replica.facts.locality)]
        way = self._network.links(origin.node).get(replica.worker) or MeasuredLink(guess.round_trip_s)
        return way.round_trip_s / 2, 1.0 / (way.bytes_per_s or guess.bytes_per_s)
