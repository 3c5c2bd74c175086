"""Cuts of the zoo: chains against whole models."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import onnx
import pytest

from onnxmesh.graph.costs.graph_analysis import analyse_graph, boundary_types
from onnxmesh.graph.cutting.cut_model import Provenance, cut_model
from onnxmesh.graph.reading.checker_input import checker_input
from onnxmesh.graph.reading.optimise import optimise
from onnxmesh.graph.reading.source import check_source
from onnxmesh.graph.reading.value_types import ValueType
from onnxmesh.graph.runtime.partition_chain import PartitionChain
from onnxmesh.graph.runtime.session import StageSession
from onnxmesh.ids import Digest
from onnxmesh.model.cluster import Cluster, DeviceKind
from onnxmesh.model.graph_costs import GraphCosts
from onnxmesh.model.optimisation_level import OptimisationLevel
from onnxmesh.model.plan import Demand
from onnxmesh.planning.planner import make_plan
from onnxmesh.tensors.tensor import Tensor
from tests.zoo import ZOO

LEVELS = [OptimisationLevel.EXTENDED, OptimisationLevel.ALL]

SMALL = sorted(name for name, model in ZOO.items() if model.everywhere)

PROVENANCE = Provenance(Digest("0" * 64), "test")


@dataclass
class Prepared:
    """A zoo model, ready to be cut, and what the whole of it answers."""

    optimised: Path
    types: dict[str, ValueType]
    profile: GraphCosts
    feeds: list[dict[str, Tensor]]
    answers: list[dict[str, Tensor]]


@pytest.fixture(scope="module")
def prepare(tmp_path_factory):
    ready: dict[tuple[str, OptimisationLevel], Prepared] = {}

    def get(name: str, level: OptimisationLevel) -> Prepared:
        if (name, level) not in ready:
            folder = tmp_path_factory.mktemp("prepared")
            source = ZOO[name].build(folder)
            check_source(source)
            optimised = optimise(source, folder / "work", level)
            types = boundary_types(optimised)
            profile = GraphCosts.from_json(analyse_graph(optimised, types=types).to_json())
            feeds = [ZOO[name].tensors(seed, batch) for seed, batch in [(1, 1), (2, 3)]]
            whole = StageSession(source, level=level)
            ready[name, level] = Prepared(optimised, types, profile, feeds, [whole.run(f) for f in feeds])
        return ready[name, level]

    return get


def assert_chain_equals_whole(
    prepared: Prepared, cuts: tuple[int, ...], out: Path, direct: list[list[str]] | None = None
) -> None:
    partitions = cut_model(prepared.optimised, cuts, out, PROVENANCE, prepared.types, direct or ())
    assert len(partitions) == len(cuts) + 1
    chain = PartitionChain(out, partitions)
    for feeds, expected in zip(prepared.feeds, prepared.answers, strict=True):
        found = chain.run(feeds)
        assert list(found) == [spec.name for spec in prepared.profile.signature.outputs]
        for name, tensor in expected.items():
            assert found[name].datatype is tensor.datatype, (cuts, name)
            assert found[name].shape == tensor.shape, (cuts, name)
            assert bytes(found[name].data) == bytes(tensor.data), (cuts, name)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    ("name", "stages"), [(name, k) for name in sorted(ZOO) for k in range(1, ZOO[name].max_stages + 1)]
)
def test_planned_cuts_keep_every_bit(prepare, tmp_path, name, stages, level):
    """Cut by the planner in 1 to 4 stages, a model answers as the whole at that level, bit for bit."""
    prepared = prepare(name, level)
    plan = make_plan(prepared.profile, Cluster((DeviceKind("worker", stages),)), Demand(num_stages=stages))
    assert len(plan.stages) == stages
    assert_chain_equals_whole(prepared, plan.cuts, tmp_path / "out")


@pytest.mark.parametrize("level", list(OptimisationLevel))
@pytest.mark.parametrize("name", SMALL)
def test_legal_cuts_keep_every_bit(prepare, tmp_path, name, level):
    """At every legal position, and at all of them at once, cutting changes no bit, whatever the level."""
    prepared = prepare(name, level)
    legal = prepared.profile.legal_cuts
    for cuts in [*((position,) for position in legal), legal]:
        assert_chain_equals_whole(prepared, cuts, tmp_path / "out")


def late_inputs(profile: GraphCosts, cuts: tuple[int, ...]) -> list[list[str]]:
    """For each stage the inputs that it reads, the first apart."""
    bounds = [0, *cuts, len(profile.nodes) + 1]
    return [
        [use.name for use in profile.inputs if start and any(start <= reader < end for reader in use.readers)]
        for start, end in pairwise(bounds)
    ]


@pytest.mark.parametrize("name", SMALL)
def test_direct_inputs_keep_every_bit(prepare, tmp_path, name):
    """With every late input direct, no stage carries one, and no bit changes."""
    prepared = prepare(name, OptimisationLevel.EXTENDED)
    legal = prepared.profile.legal_cuts
    outputs = {spec.name for spec in prepared.profile.signature.outputs}
    for cuts in [*((position,) for position in legal), legal]:
        direct = late_inputs(prepared.profile, cuts)
        if not any(direct):
            continue
        assert_chain_equals_whole(prepared, cuts, tmp_path / "out", direct)
        partitions = cut_model(prepared.optimised, cuts, tmp_path / "out", PROVENANCE, prepared.types, direct)
        assert [list(partition.direct_inputs) for partition in partitions] == direct
        sent = {name for names in direct for name in names}
        assert all(sent.isdisjoint(partition.live_out) for partition in partitions[:-1])
        for partition in partitions:
            assert set(partition.direct_inputs) <= {spec.name for spec in partition.inputs} | outputs


@pytest.mark.parametrize("name", SMALL)
def test_partitions_are_valid_onnx(prepare, tmp_path, name):
    """Each partition passes ONNX's checker, with a type on all that enters or leaves it."""
    prepared = prepare(name, OptimisationLevel.EXTENDED)
    cut_model(prepared.optimised, prepared.profile.legal_cuts, tmp_path / "out", PROVENANCE, prepared.types)
    for path in sorted((tmp_path / "out").glob("stage-*/model.onnx")):
        model = onnx.load(path)
        assert all(value.type.tensor_type.elem_type for value in [*model.graph.input, *model.graph.output])
        assert 4 <= model.ir_version <= 13
        ranked = all(value.type.tensor_type.HasField("shape") for value in model.graph.input)
        if ranked:  # ONNX Runtime takes an input of unknown rank, the checker does not
            onnx.checker.check_model(checker_input(model))


@pytest.mark.parametrize("name", sorted(ZOO))
def test_boundaries_have_needed_tensors_only(prepare, tmp_path, name):
    """A stage takes only what is alive before it, and gives only what somebody needs."""
    prepared = prepare(name, OptimisationLevel.EXTENDED)
    stages = min(ZOO[name].max_stages, 4)
    plan = make_plan(prepared.profile, Cluster((DeviceKind("worker", stages),)), Demand(num_stages=stages))
    partitions = cut_model(prepared.optimised, plan.cuts, tmp_path / "out", PROVENANCE, prepared.types)
    alive = {spec.name for spec in prepared.profile.signature.inputs}
    for partition in partitions:
        assert {spec.name for spec in partition.inputs} <= alive
        computed = {spec.name for spec in partition.outputs}
        assert set(partition.live_out) <= alive | computed
        assert computed <= set(partition.live_out)
        alive = set(partition.live_out)
    assert alive == {spec.name for spec in prepared.profile.signature.outputs}
