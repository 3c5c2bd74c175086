"""The decision how to split a request into micro-batches, by measured runs of stages and links. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from functools import partial

from onnxmesh.estimation.linear_cost import LinearCost
from onnxmesh.estimation.trial import Trial
from onnxmesh.ids import StageKey, WorkerId
from onnxmesh.routing.balancer import Route
from onnxmesh.routing.network import GUESSES, MeasuredLink, Network
from onnxmesh.routing.stage_board import Origin
from onnxmesh.routing.table.routed_model import Replica, RoutedModel
from onnxmesh.v1.frame_pb2 import HopTiming
from services.gateway.batching.split_plan import (
    MIN_GAIN,
    Leg,
    best_num_micro_batches,
    num_micro_batches_to_try,
    rows_of_micro_batches,
)


class MicroBatcher:
    """Learns from requests with several rows, and plans the micro-batches of later ones.

    Args:
        home: This gateway as the origin of links.
        network: Measured links between processes.
    """

    def __init__(self, home: Origin, network: Network) -> None:
        self._home = home
        self._network = network
        self._costs: dict[tuple[StageKey, WorkerId], LinearCost] = {}
        self._row_bytes: dict[StageKey, float] = {}
        self._trials: defaultdict[tuple[StageKey, int], Trial] = defaultdict(partial(Trial, MIN_GAIN))

    def plan(self, rows: int, model: RoutedModel, route: Route) -> list[int]:
        """Returns the rows of each micro-batch of a request; one with all rows where no gain is expected or known."""
        if model.splitting is None or not model.splitting.allows(rows, route):
            return [rows]
        legs = []
        origin = self._home
        for stage, replica in zip(model.stages, route, strict=True):
            cost = self._costs.get((stage.key, replica.worker))
            if cost is None:
                return [rows]
            latency_s, byte_s = self._link_cost(origin, replica)
            fixed_s, row_s = cost.line
            legs.append(
                Leg(
                    worker=replica.worker,
                    fixed_s=fixed_s,
                    row_s=row_s,
                    least_rows=cost.least_rows,
                    latency_s=latency_s,
                    wire_row_s=byte_s * self._row_bytes.get(stage.key, 0.0),
                )
            )
            origin = Origin(replica.worker, replica.facts.locality)
        num = best_num_micro_batches(rows, legs)
        if num == 1:
            num = num_micro_batches_to_try(rows, legs)
        return rows_of_micro_batches(
            rows, num if num > 1 and self._trials_of(rows, model).use_alternative() else 1
        )

    def observe_duration(self, rows: int, model: RoutedModel, seconds: float, num_micro_batches: int) -> None:
        """Records how long a request took in `num_micro_batches` micro-batches."""
        self._trials_of(rows, model).observe(seconds / rows, alternative=num_micro_batches > 1)

    def observe_timings(self, rows: int, timings: Iterable[HopTiming]) -> None:
        """Records the hop timings of an answered request, or of a micro-batch, with `rows` rows."""
        for timing in timings:
            stage = StageKey(timing.stage)
            cost = self._costs.setdefault((stage, WorkerId(timing.worker)), LinearCost())
            cost.observe(timing.rows or rows, timing.compute_ns / 1e9)
            self._row_bytes[stage] = timing.tensor_bytes / rows

    def remove(self, stages: Iterable[StageKey], workers: Iterable[WorkerId]) -> None:
        """Removes what was learned of stages and workers."""
        stages, workers = set(stages), set(workers)
        if stages or workers:
            self._costs = {
                (stage, worker): cost
                for (stage, worker), cost in self._costs.items()
                if stage not in stages and worker not in workers
            }
            for stage in stages:
                self._row_bytes.pop(stage, None)
            for key in [each for each in self._trials if each[0] in stages]:
                del self._trials[key]

    def _trials_of(self, rows: int, model: RoutedModel) -> Trial:
        """Returns the trials with requests of about this size: sizes are compared apart."""
        return self._trials[model.stages[0].key, rows.bit_length()]

    def _link_cost(self, origin: Origin, replica: Replica) -> tuple[float, float]:
        """Returns the latency of the link to a replica in seconds, and the seconds for each byte."""
        if origin.node == replica.worker:
            return 0.0, 0.0
        guess = GUESSES[origin.locality.nearness(replica.facts.locality)]
        link = self._network.links(origin.node).get(replica.worker) or MeasuredLink(guess.round_trip_s)
        return link.round_trip_s / 2, 1.0 / (link.bytes_per_s or guess.bytes_per_s)
