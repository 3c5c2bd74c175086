"""How soon micro-batches are what they should be: a pipeline in virtual time."""

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
    """Stages, each on a worker of its own, that take what the test says.

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
        told = routed_model([[(worker, f"{worker}:1")] for worker in workers])
        told.splitting.CopyFrom(Splitting(max_rows=64))
        table = RouteTable(models=[told], workers=[RoutedWorker(worker=worker) for worker in workers])
        self._model = RoutingTable.from_proto(table).find("m", "")
        self._route = tuple(stage.replicas[0] for stage in self._model.stages)

    def ask(self, rows=ROWS):
        """Returns into how many pieces a request was cut, and how long it took."""
        pieces = self.batcher.pieces(rows, self._model, self._route)
        done_s = [0.0] * len(self._run_s)
        for count in pieces:
            timings, there_s = [], 0.0
            for index, run_s in enumerate(self._run_s):
                takes_s = run_s(count) * self._slower(self._number)
                there_s = done_s[index] = max(done_s[index], there_s) + takes_s + 0.0005
                timings.append(
                    HopTiming(
                        stage=self._model.stages[index].key,
                        worker=self._route[index].worker,
                        compute_ns=round(takes_s * 1e9),
                        rows=count,
                    )
                )
            self.batcher.learn(count, timings)
        self.batcher.took(rows, self._model, done_s[-1], len(pieces))
        self._number += 1
        return len(pieces), done_s[-1]


def each_row(seconds, fixed_s=0.0):
    return lambda rows: fixed_s + seconds * rows


def cold(*numbers):
    return lambda number: 3.0 if number in numbers else 1.0


@pytest.mark.parametrize("slow", [(), (0,), (1,), (0, 1)], ids=["none", "whole", "cut", "both"])
def test_two_equal_stages_take_little_more_than_half_the_time_from_the_seventh_request_on(slow):
    """Whichever of the first requests found its workers cold."""
    pipeline = Pipeline(each_row(0.001), each_row(0.001), slower=cold(*slow))
    whole_s = 2 * (ROWS * 0.001 + 0.0005)
    seen = [pipeline.ask() for _ in range(40)]
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
def test_what_gains_nothing_stays_whole(stages):
    """But for a few that try it where that could be wrong, and these in two pieces alone."""
    pipeline = Pipeline(*stages)
    seen = [pipeline.ask()[0] for _ in range(80)]
    assert max(seen[2:]) <= 2
    assert sum(num > 1 for num in seen) <= 8


@pytest.mark.parametrize("seed", range(10))
def test_a_machine_that_others_use_too_is_no_reason_to_leave_requests_whole(seed):
    """Every third request takes up to three times as long; more than half are cut all the same."""
    rng = Random(seed)
    slower = [1.0 + (2.0 * rng.random() if rng.random() < 0.33 else 0.0) for _ in range(200)]
    pipeline = Pipeline(each_row(0.001), each_row(0.001), slower=slower.__getitem__)
    assert sum(pipeline.ask()[0] > 1 for _ in range(200)) > 100


def test_a_single_row_is_whole():
    """Whatever is known."""
    pipeline = Pipeline(each_row(0.1), each_row(0.1))
    for _ in range(10):
        pipeline.ask()
        assert pipeline.ask(rows=1)[0] == 1
