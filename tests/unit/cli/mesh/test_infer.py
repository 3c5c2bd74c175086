"""`onnxmesh infer`."""

from __future__ import annotations

import json

import numpy as np
import pytest

from onnxmesh.cli.mesh.infer import trace_table
from onnxmesh.client import HopTrace, RouteTrace
from onnxmesh.oip import open_inference_pb2 as oip
from onnxmesh.tensors.bytes_codec import encode_bytes
from tests.fakes.command_line import run_with
from tests.fakes.fake_mesh import FakeMesh


def metadata():
    response = oip.ModelMetadataResponse(name="m")
    response.inputs.add(name="x", datatype="FP32", shape=[-1, 2])
    return response


def outputs():
    response = oip.ModelInferResponse(model_name="m", model_version="2")
    response.outputs.add(name="a/b", datatype="INT64", shape=[10])
    response.raw_output_contents.append(np.arange(10).tobytes())
    return response


async def test_infer_prints_and_saves_the_outputs(tmp_path):
    """A table with the first values, the time, and a file for each output."""
    async with FakeMesh(ModelMetadata=[metadata()], ModelInfer=[outputs()]).running() as mesh:
        done = await run_with(mesh, "infer", "m", "--input", "x=random", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.stderr
    assert "m version 2" in done.stdout
    assert "[0, 1, 2, 3, 4, 5, 6, 7, …]" in done.stdout
    assert np.load(tmp_path / "out" / "a_b.npy").tolist() == list(range(10))
    (request,) = mesh.of("ModelInfer")
    assert list(request.inputs[0].shape) == [1, 2]


async def test_infer_json_has_every_value():
    """And the routing constraints are parameters of the request."""
    async with FakeMesh(ModelMetadata=[metadata()], ModelInfer=[outputs()]).running() as mesh:
        done = await run_with(
            mesh, "infer", "m", "--input", "x=random:3x2", "--session", "anna", "--require", "gpu", "--json"
        )
    document = json.loads(done.stdout)
    assert document["outputs"] == {"a/b": {"dtype": "int64", "shape": [10], "data": list(range(10))}}
    assert document["trace"] is None
    parameters = mesh.of("ModelInfer")[0].parameters
    assert (parameters["mesh.session"].string_param, parameters["mesh.require"].string_param) == (
        "anna",
        "gpu",
    )


async def test_infer_json_is_valid_with_nan_infinity_and_bytes(tmp_path):
    """NaN and infinity are strings; bytes that are not UTF-8 are base64; `file` is where an output was saved."""
    response = oip.ModelInferResponse(model_name="m", model_version="2")
    response.outputs.add(name="f", datatype="FP32", shape=[3])
    response.outputs.add(name="text", datatype="BYTES", shape=[2])
    response.outputs.add(name="F", datatype="BYTES", shape=[1])
    response.raw_output_contents.append(np.array([np.nan, -np.inf, 0.5], np.float32).tobytes())
    response.raw_output_contents.append(encode_bytes(["grün".encode(), b""]))
    response.raw_output_contents.append(encode_bytes([b"\xff\xd8"]))
    async with FakeMesh(ModelMetadata=[metadata()], ModelInfer=[response]).running() as mesh:
        done = await run_with(mesh, "infer", "m", "--input", "x=random", "--json", "--out", tmp_path)
    assert done.exit_code == 0, done.stderr
    outputs = json.loads(done.stdout, parse_constant=pytest.fail)["outputs"]
    assert outputs["f"]["data"] == ["NaN", "-Infinity", 0.5]
    assert outputs["text"]["data"] == ["grün", ""]
    assert (outputs["F"]["encoding"], outputs["F"]["data"]) == ("base64", ["/9g="])
    assert [each["file"] for each in outputs.values()] == [
        str(tmp_path / name) for name in ("f.npy", "text.npy", "F-2.npy")
    ]


async def test_infer_takes_names_with_equals_signs():
    """And its example is one that a shell takes as it is."""
    response = oip.ModelMetadataResponse(name="m")
    response.inputs.add(name="a=b", datatype="FP32", shape=[-1, 4])
    response.inputs.add(name="the mask", datatype="FP32", shape=[4])
    async with FakeMesh(ModelMetadata=[response, response], ModelInfer=[outputs()]).running() as mesh:
        done = await run_with(mesh, "infer", "m", "--input", "a=b=random:3x4", "--input", "the mask=random")
        lacking = await run_with(mesh, "infer", "m")
    assert done.exit_code == 0, done.stderr
    (request,) = mesh.of("ModelInfer")
    assert [(each.name, list(each.shape)) for each in request.inputs] == [("a=b", [3, 4]), ("the mask", [4])]
    assert lacking.stderr == "error: 'm' needs inputs: try --input a=b=random --input 'the mask=random'\n"


async def test_infer_without_inputs_shows_how_to_give_them():
    """Exit code 2, and nothing is sent."""
    async with FakeMesh(ModelMetadata=[metadata()]).running() as mesh:
        done = await run_with(mesh, "infer", "m")
    assert (done.exit_code, done.stderr) == (2, "error: 'm' needs inputs: try --input x=random\n")
    assert mesh.of("ModelInfer") == []


def test_trace_table_has_a_row_for_each_hop():
    """Attempts and micro-batches are in the title, compressed outputs in their hop's row."""
    hop = HopTrace(
        "m/1/0", "w", queue_us=1, compute_us=2, wire_us=3, plain_bytes=2_000_000, wire_bytes=500_000
    )
    table = trace_table(RouteTrace(total_us=9, attempts=2, hops=(hop,), return_us=4, pieces=3))
    assert table.title == "route, attempt 2; 3 micro-batches: sum of compute, maximum of the other times"
    assert next(iter(table.columns[-1].cells)) == "2.0 MB as 500.0 kB"
    assert list(table.columns[0].cells) == ["m/1/0", "result", "total in the mesh"]
