"""Messages of the WorkerControl service."""

from __future__ import annotations

from pathlib import Path

import pytest

from onnxmesh.errors import InvalidRequest
from onnxmesh.graph.build_jobs import CutOptions, PrepareOptions
from onnxmesh.model.batching import BatchingSpec, BatchMode
from onnxmesh.model.cut_mode import CutMode
from onnxmesh.model.input_shapes import InputShapes
from onnxmesh.model.optimisation_level import OptimisationLevel
from onnxmesh.model.signature import Signature
from onnxmesh.model.tensor_spec import TensorSpec
from onnxmesh.v1.model_pb2 import Batching, Shape, Shapes
from onnxmesh.v1.worker_pb2 import CutRequest, DirectInputs, PrepareRequest
from services.worker.control.control_messages import cut_options, prepare_options, prepare_response
from services.worker.models.preparations import PreparedModel


def test_prepare_options_of_a_request():
    """An absent mode is exact, an absent batch 1."""
    shapes = Shapes(inputs={"x": Shape(dims=[2, 3])})
    request = PrepareRequest(optimisation="all", shapes=shapes, profile_s=2.0)
    expected = PrepareOptions(
        OptimisationLevel.ALL, CutMode.EXACT, InputShapes(1, {"x": (2, 3)}), profile_s=2.0
    )
    assert prepare_options(request) == expected
    assert prepare_options(PrepareRequest(optimisation="none", mode="portable")).mode is CutMode.PORTABLE


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (PrepareRequest(optimisation="most"), "an optimisation of none, basic, extended, all; got 'most'"),
        (PrepareRequest(optimisation="all", mode="odd"), "a mode of exact, portable; got 'odd'"),
    ],
)
def test_prepare_options_refuse_unknown_words(request_, message):
    """The message has the valid ones."""
    with pytest.raises(InvalidRequest, match=message):
        prepare_options(request_)


def test_cut_options_of_a_request():
    """Without a batching spec the batch check is not made."""
    request = CutRequest(cuts=[1, 3], direct=[DirectInputs(), DirectInputs(names=["u"])])
    assert cut_options(request) == CutOptions((1, 3), ((), ("u",)))
    request = CutRequest(batching=Batching(mode="on", max_rows=4), measure_activation_errors=True)
    assert cut_options(request) == CutOptions(batching=BatchingSpec(BatchMode.ON, 4), activation_errors=True)
    with pytest.raises(InvalidRequest, match="batching of auto, on, off; got 'of'"):
        cut_options(CutRequest(batching=Batching(mode="of")))


def test_prepare_response_has_the_signature_and_the_costs():
    """An unknown shape is empty."""
    signature = Signature((TensorSpec("x", "FP32", (-1, 3)),), (TensorSpec("y", "INT64", None),))
    prepared = PreparedModel(
        name="n", folder=Path("f"), signature=signature, costs="{}", profile="", measured=False
    )
    response = prepare_response(prepared)
    assert (response.prepared, response.costs, response.profile) == ("n", b"{}", b"")
    assert [list(spec.shape) for spec in response.signature.inputs] == [[-1, 3]]
    assert [(spec.name, spec.datatype, list(spec.shape)) for spec in response.signature.outputs] == [
        ("y", "INT64", [])
    ]
