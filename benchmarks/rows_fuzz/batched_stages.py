"""The stages of a random graph in this process: batches compared with runs alone."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from benchmarks.rows_fuzz.graph_builder import LENGTH, WIDTH
from benchmarks.rows_fuzz.random_graph import random_graph
from benchmarks.rows_fuzz.request_bits import Floats, equal_bits, requests
from onnxmesh.graph.build_jobs import CutJob, CutOptions, PrepareJob, PrepareOptions
from onnxmesh.graph.build_steps import cut_prepared, prepare
from onnxmesh.graph.reading.node_order import load_graph
from onnxmesh.graph.rows.row_analysis import analyse_rows
from onnxmesh.graph.rows.row_state import Mixed, Rows, row_input
from onnxmesh.graph.runtime.partition_chain import direct_feeds, live_tensors
from onnxmesh.graph.runtime.session import StageSession
from onnxmesh.model.batching import BatchingSpec, StageBatching
from onnxmesh.model.cluster import Cluster, DeviceKind
from onnxmesh.model.graph_costs import GraphCosts
from onnxmesh.model.optimisation_level import OptimisationLevel
from onnxmesh.model.partition import PARTITIONS, Partition
from onnxmesh.model.plan import Demand
from onnxmesh.planning.planner import make_plan
from onnxmesh.tensors.arrays import from_array, to_array


@dataclass(frozen=True, slots=True)
class StageVerdict:
    """What became of one graph in this process.

    Attributes:
        seed: Of the graph.
        mixed: Whether rows are mixed in an output, by construction.
        num_stages: Number of its stages.
        proven: Whether the whole graph is proven to keep rows apart.
        batched: Whether every stage runs batches.
        wrong: Answers of batched stages that differ from runs alone.
        reason: Why it is not proven or not batched.
    """

    seed: int
    mixed: bool
    num_stages: int
    proven: bool
    batched: bool
    wrong: int
    reason: str


def examine_stages(seed: int, folder: Path, num_stages: int) -> StageVerdict:
    """Takes a random graph through the steps of a deployment and runs its stages in batches.

    Args:
        seed: Of the graph and the requests.
        folder: An empty folder.
        num_stages: Number of stages, where the graph can be cut so often.
    """
    built = random_graph(seed)
    source = folder / "model.onnx"
    onnx.save(built.model, source)
    states = analyse_rows(load_graph(source), {"x": row_input((0, LENGTH, WIDTH))})
    found = [states[output.name].state for output in built.model.graph.output]
    proven = all(state == Rows(0) for state in found)
    reason = next((state.reason for state in found if isinstance(state, Mixed)), "")
    work = folder / "work"
    costs = GraphCosts.from_json(
        json.loads(prepare(PrepareJob(source, work, PrepareOptions(OptimisationLevel.ALL))))["costs"]
    )
    cluster = Cluster((DeviceKind("device", num_stages),))
    plan = make_plan(costs, cluster, Demand(num_stages=min(num_stages, costs.max_stages)))
    answer = json.loads(cut_prepared(CutJob(work, CutOptions(tuple(plan.cuts), batching=BatchingSpec()))))
    partitions = [Partition.from_plain(plain) for plain in answer["partitions"]]
    batching = [StageBatching.from_plain(plain) for plain in answer["batching"]]
    wrong = _wrong_answers(work / PARTITIONS, partitions, batching, requests(seed))
    reason = reason or next((each.why_not for each in batching if each.why_not), "")
    return StageVerdict(
        seed, built.mixed, len(partitions), proven, all(each.max_rows > 1 for each in batching), wrong, reason
    )


def _wrong_answers(
    folder: Path, partitions: list[Partition], batching: list[StageBatching], rows: list[Floats]
) -> int:
    """Returns how many outputs of stages differ between a batch and the run alone, bit by bit."""
    given = [{"x": from_array("x", row)} for row in rows]
    live = [dict(feeds) for feeds in given]
    wrong = 0
    for partition, rule in zip(partitions, batching, strict=True):
        session = StageSession(folder / f"stage-{partition.index}")
        before = [has | direct_feeds(partition, feeds) for has, feeds in zip(live, given, strict=True)]
        alone = [{name: to_array(t).copy() for name, t in session.run(feeds).items()} for feeds in before]
        for start in range(0, len(before), max(1, rule.max_rows)) if rule.max_rows > 1 else ():
            group = range(start, min(len(before), start + rule.max_rows))
            joined = {
                spec.name: before[start][spec.name]
                if spec.name in rule.shared
                else from_array(
                    spec.name, np.concatenate([to_array(before[number][spec.name]) for number in group])
                )
                for spec in partition.inputs
            }
            for name, tensor in session.run(joined).items():
                together = to_array(tensor)
                for number in group:
                    own = together if name in rule.shared else together[number - start : number - start + 1]
                    wrong += not equal_bits(own, alone[number][name])
        live = [
            live_tensors(partition, has, {name: from_array(name, array) for name, array in answers.items()})
            for has, answers in zip(before, alone, strict=True)
        ]
    return wrong
