"""Analysis of graphs whose costs are computed by hand."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from onnxmesh.graph.costs.graph_analysis import analyse_graph
from onnxmesh.graph.cutting.cut_model import Provenance, cut_model
from onnxmesh.graph.reading.optimise import optimise
from onnxmesh.ids import Digest
from onnxmesh.model.graph_costs import GraphCosts
from onnxmesh.model.input_shapes import InputShapes
from onnxmesh.model.optimisation_level import OptimisationLevel
from onnxmesh.model.tensor_spec import TensorSpec
from tests.zoo import ZOO
from tests.zoo.zoo_model import floats, model, node


def profile_of(tmp_path, made, level=OptimisationLevel.NONE, **options) -> GraphCosts:
    onnx.save(made, tmp_path / "m.onnx")
    return analyse_graph(optimise(tmp_path / "m.onnx", tmp_path / "out", level), **options)


def zoo_profile(tmp_path, name, level=OptimisationLevel.NONE) -> GraphCosts:
    return profile_of(tmp_path, ZOO[name].make(), level)


def test_analysis_counts_two_operations_for_each_weight_of_a_dense_layer(tmp_path):
    """Operations, bytes and weights of MatMul [N, 3] x [3, 4], for a batch of one and of ten."""
    made = model(
        [node("MatMul", ["x", "w"], ["a"]), node("Neg", ["a"], ["y"])],
        [floats("x", "N", 3)],
        [floats("y", "N", 4)],
        {"w": np.zeros((3, 4), np.float32)},
    )
    one = profile_of(tmp_path, made)
    product, negation = one.nodes
    assert product.op_type == "MatMul"
    assert product.flops == 2 * 3 * 4
    assert product.bytes_moved == 4 * (3 + 4 + 12)
    assert one.weights == (48,)
    assert product.weights == (0,)
    assert negation.flops == 8
    assert one.boundaries[0].num_bytes == 16
    ten = profile_of(tmp_path, made, shapes=InputShapes(10))
    assert ten.nodes[0].flops == 10 * product.flops
    assert ten.boundaries[0].num_bytes == 160


def test_analysis_counts_the_window_of_a_convolution(tmp_path):
    """2 x output elements x window x channels of a group."""
    made = model(
        [node("Conv", ["x", "w"], ["a"], group=2), node("Neg", ["a"], ["y"])],
        [floats("x", 1, 4, 8, 8)],
        [floats("y", 1, 6, 6, 6)],
        {"w": np.zeros((6, 2, 3, 3), np.float32)},
    )
    assert profile_of(tmp_path, made).nodes[0].flops == 2 * (6 * 6 * 6) * (2 * 3 * 3)


def test_analysis_returns_the_signature_of_the_model(tmp_path):
    """Names, datatypes and shapes in the order of the graph; BYTES for strings, -1 for symbols."""
    signature = zoo_profile(tmp_path, "strings").signature
    assert signature.inputs == (TensorSpec("words", "BYTES", (-1,)),)
    assert signature.outputs == (
        TensorSpec("chosen", "BYTES", (-1,)),
        TensorSpec("scores", "FP32", (-1, 4)),
        TensorSpec("again", "BYTES", (-1,)),
    )


def test_analysis_excludes_inputs_with_a_default(tmp_path):
    """A weight that is listed as an input is not required of clients."""
    signature = zoo_profile(tmp_path, "default_inputs").signature
    assert [spec.name for spec in signature.inputs] == ["x"]


def test_analysis_forbids_cuts_through_a_sequence(tmp_path):
    """The position is illegal, and the reason names the value."""
    profile = zoo_profile(tmp_path, "sequence_inside")
    assert profile.legal_cuts == (1, 4, 5, 6)
    assert profile.max_stages == 5
    assert "'parts' is a seq(tensor(float))" in str(profile.boundaries[1].obstacle)


def test_analysis_excludes_constant_nodes(tmp_path):
    """What depends on no input is copied into the stages that need it; dead nodes vanish."""
    profile = zoo_profile(tmp_path, "constant_cones")
    assert [node.op_type for node in profile.nodes] == ["MatMul", "Add", "MatMul", "Tanh", "MatMul"]
    assert [boundary.num_tensors for boundary in profile.boundaries] == [1, 1, 1, 1]


def test_analysis_counts_tied_weights_once(tmp_path):
    """The table is read at both ends, through a constant Transpose at the second."""
    profile = zoo_profile(tmp_path, "tied_weights")
    shared = set(profile.nodes[0].weights) & set(profile.nodes[-1].weights)
    assert [profile.weights[weight] for weight in shared] == [50 * 16 * 4]
    assert profile.weight_bytes(0, len(profile.nodes)) == sum(profile.weights)


def test_analysis_counts_weights_of_subgraphs(tmp_path):
    """A branch's own initialiser counts for its If, beside what the branches read of the outer graph."""
    profile = zoo_profile(tmp_path, "default_inputs")
    choice = next(node for node in profile.nodes if node.op_type == "If")
    assert sorted(profile.weights[weight] for weight in choice.weights) == [16, 64]


def test_analysis_rematerialises_shape_computations(tmp_path):
    """The shape of what crosses anyway is not sent; where its tensor is not live, the smallest value that determines the rest is sent."""
    path = ZOO["shapes"].build(tmp_path)
    optimised = optimise(path, tmp_path / "work", OptimisationLevel.NONE)
    positions = range(1, len(analyse_graph(optimised).nodes))
    provenance = Provenance(Digest("0" * 64), "none")
    live = [cut_model(optimised, [p], tmp_path / "out", provenance)[0].live_out for p in positions]
    assert live[:4] == [
        ("x", "act"),  # its shape is taken behind the cut
        ("act", "shape"),
        ("act", "batch"),
        ("act", "batch"),  # `target` follows from `batch`
    ]
    profile = analyse_graph(optimised)
    computed = [[name for name in names if name != "x"] for names in live]
    assert [boundary.num_tensors for boundary in profile.boundaries] == [len(names) for names in computed]
    assert [use.readers for use in profile.inputs] == [(0, 1)]


def test_analysis_infers_shapes_computed_from_shapes(tmp_path):
    """Boundary bytes of magika behind a Reshape to a computed shape are real ones, not 4."""
    profile = zoo_profile(tmp_path, "magika", OptimisationLevel.EXTENDED)
    assert min(boundary.num_bytes for boundary in profile.boundaries[20:40]) > 100_000


@pytest.mark.parametrize("level", list(OptimisationLevel))
def test_analysis_counts_fused_operators_like_the_original_ones(tmp_path, level):
    """ResNet-50 has 4.1 G multiply-adds (He et al., 2015: 3.8 without the shortcuts) at any level."""
    profile = zoo_profile(tmp_path, "resnet50", level)
    assert 7.5e9 < sum(node.flops for node in profile.nodes) < 9e9
