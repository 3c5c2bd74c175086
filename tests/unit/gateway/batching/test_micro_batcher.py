"""How soon plans of micro-batches are right: a pipeline in virtual time."""

from __future__ import annotations

from random import Random

import pytest

from onnxmesh.routing.network import Network
from onnxmesh.routing.stage_board import Origin
from onnxmesh.routing.table.locality import UNKNOWN_LOCALITY
from onnxmesh.routing.table.table import RoutingTable
from onnxmesh.v1.frame_pb2 import HopTiming
from onnxmesh.v1.mesh_pb2 import RoutedWorker, RouteTable, Splitting
from services.gateway.batching.micro_batcher import MicroBatcher
from tests.fakes.routed_models import routed_model

ROWS = 32


class Pipeline:
    """Stages, each on a worker of its own, with run times that the test gives.

    Args:
        run_s: For each stage seconds of a run of so many rows.
        slower: How much longer than that the runs of the request of a number take.
    """

    def __init__(self, *run_s, slower=lambda number: 1.0):
        self._run_s = run_s
        self._slower = slower
        self._number = 0
        self.batcher = MicroBatcher(Origin("g", UNKNOWN_LOCALITY), Network())
        workers = [f"w{index}" for index in range(len(run_s))]
        routed = routed_model([[(worker, f"{worker}:1")] for worker in workers])
        routed.splitting.CopyFrom(Splitting(max_rows=64))
        table = RouteTable(models=[routed], workers=[RoutedWorker(worker=worker) for worker in workers])
        self._model = RoutingTable.from_proto(table).find("m", "")
        self._route = tuple(stage.replicas[0] for stage in self._model.stages)

    def infer(self, rows=ROWS):
        """Returns the number of micro-batches of a request, and how long it took."""
        sizes = self.batcher.plan(rows, self._model, self._route)
        done_s = [0.0] * len(self._run_s)
        for size in sizes:
            timings, there_s = [], 0.0
            for index, run_s in enumerate(self._run_s):
                takes_s = run_s(size) * self._slower(self._number)
                there_s = done_s[index] = max(done_s[index], there_s) + takes_s + 0.0005
                timings.append(
                    HopTiming(
                        stage=self._model.stages[index].key,
                        worker=self._route[index].worker,
                        compute_ns=round(takes_s * 1e9),
                        rows=size,
                    )
                )
            self.batcher.observe_timings(size, timings)
        self.batcher.observe_duration(rows, self._model, done_s[-1], len(sizes))
        self._number += 1
        return len(sizes), done_s[-1]


def each_row(seconds, fixed_s=0.0):
    return lambda rows: fixed_s + seconds * rows


def cold(*numbers):
    return lambda number: 3.0 if number in numbers else 1.0


@pytest.mark.parametrize("slow", [(), (0,), (1,), (0, 1)], ids=["none", "whole", "split", "both"])
def test_micro_batcher_splits_for_two_equal_stages_from_the_seventh_request_on(slow):
    """Whichever of the first requests found its workers cold."""
    pipeline = Pipeline(each_row(0.001), each_row(0.001), slower=cold(*slow))
    whole_s = 2 * (ROWS * 0.001 + 0.0005)
    seen = [pipeline.infer() for _ in range(40)]
    assert [num > 1 for num, _ in seen[:6]] == [False, True] * 3
    late = seen[6:]
    assert sum(num > 1 for num, _ in late) >= len(late) - 3
    assert sorted(took_s for _, took_s in late)[len(late) // 2] < 0.65 * whole_s


@pytest.mark.parametrize(
    "stages",
    [
        (each_row(0.0, 0.05), each_row(0.0, 0.05)),
        (each_row(0.01), each_row(1e-5)),
        (each_row(1e-6), each_row(1e-6)),
    ],
    ids=["runs cost the same however long", "one stage does it all", "nothing to gain"],
)
def test_micro_batcher_leaves_requests_whole_where_nothing_is_gained(stages):
    """But for a few trials where the plan could be wrong, and these in two micro-batches."""
    pipeline = Pipeline(*stages)
    seen = [pipeline.infer()[0] for _ in range(80)]
    assert max(seen[2:]) <= 2
    assert sum(num > 1 for num in seen) <= 8


@pytest.mark.parametrize("seed", range(10))
def test_micro_batcher_tolerates_interference(seed):
    """Every third request takes up to three times as long; more than half are split all the same."""
    rng = Random(seed)
    slower = [1.0 + (2.0 * rng.random() if rng.random() < 0.33 else 0.0) for _ in range(200)]
    pipeline = Pipeline(each_row(0.001), each_row(0.001), slower=slower.__getitem__)
    assert sum(pipeline.infer()[0] > 1 for _ in range(200)) > 100


def test_micro_batcher_leaves_a_single_row_whole():
    """Whatever was measured."""
    pipeline = Pipeline(each_row(0.1), each_row(0.1))
    for _ in range(10):
        pipeline.infer()
        assert pipeline.infer(rows=1)[0] == 1
