"""What ONNX Runtime runs, a mesh runs: odd models and files, deployed by command and called by a client."""

from __future__ import annotations

import json

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from tritonclient import grpc as triton
from tritonclient.utils import np_to_triton_dtype

from tests.e2e.mesh_process import running_mesh
from tests.locale_folder import install_locale
from tests.unit.graph.accepted_models import FORMS, ROWS
from tests.zoo.external_model import WEIGHTS, linked_as_in_a_cache, write_model
from tests.zoo.zoo_model import floats, model, node

JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\xff"


@pytest.fixture(scope="module")
def mesh(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        install_locale(tmp_path_factory.mktemp("locales"), patch)
        with running_mesh("--workers=2") as running:
            yield running


def answer(mesh, name, **feeds):
    inputs = [
        triton.InferInput(key, list(array.shape), np_to_triton_dtype(array.dtype)).set_data_from_numpy(array)
        for key, array in feeds.items()
    ]
    with triton.InferenceServerClient(mesh.address) as client:
        metadata = client.get_model_metadata(name)
        result = client.infer(name, inputs)
    answered = [output.name for output in result.get_response().outputs]
    assert answered == [output.name for output in metadata.outputs]
    return {output: result.as_numpy(output) for output in answered}


@pytest.mark.parametrize(
    ("form", "mode"),
    [
        ("output_three_times_among_others", "exact"),
        ("branches_of_other_rank", "portable"),
    ],
)
def test_odd_form_answers_as_onnx_runtime(mesh, tmp_path, form, mode):
    """In two stages; metadata and answers name each output once."""
    path = tmp_path / f"{form}_{mode}.onnx"
    path.write_bytes(FORMS[form]().SerializeToString())
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    expected = dict(zip(names, session.run(None, {"x": ROWS}), strict=True))
    mesh.run("deploy", str(path), "--stages=2", f"--mode={mode}")
    answers = answer(mesh, path.stem, x=ROWS)
    assert list(answers) == list(expected)
    for name, array in expected.items():
        np.testing.assert_allclose(answers[name], array, rtol=1e-6)
        assert answers[name].shape == array.shape
    mesh.undeploy(path.stem)


@pytest.mark.parametrize(
    ("location", "file"),
    [("onnx::MatMul_12", "onnx::MatMul_12"), ("data\\w.bin", "data/w.bin")],
)
def test_data_at_an_odd_location_is_uploaded_and_read(mesh, tmp_path, location, file):
    """With a colon in its name, or with the separators of Windows."""
    path = write_model(tmp_path, location, "odd.onnx")
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_bytes(WEIGHTS.tobytes())
    mesh.run("deploy", str(path), "--stages=2")
    ones = np.ones((1, 64), np.float32)
    np.testing.assert_allclose(answer(mesh, "odd", x=ones)["y"], ones @ WEIGHTS, rtol=1e-6)
    mesh.undeploy("odd")


def test_model_of_a_cache_is_deployed_through_its_links(mesh, tmp_path):
    """The client reads its user's files wherever the links lead."""
    mesh.run("deploy", str(linked_as_in_a_cache(tmp_path)), "--name=cached", "--stages=2")
    ones = np.ones((1, 64), np.float32)
    np.testing.assert_allclose(answer(mesh, "cached", x=ones)["y"], ones @ WEIGHTS, rtol=1e-6)


def test_model_without_inputs_is_served(mesh, tmp_path):
    """By `infer` without options, and by a request without inputs."""
    weights = np.array([0.5, -1, 2], np.float32)
    made = model(
        [node("Mul", ["w", "w"], ["a"]), node("Exp", ["a"], ["y"])], [], [floats("y", 3)], {"w": weights}
    )
    (tmp_path / "constant.onnx").write_bytes(made.SerializeToString())
    mesh.run("deploy", str(tmp_path / "constant.onnx"))
    expected = np.exp(weights * weights)
    np.testing.assert_allclose(answer(mesh, "constant")["y"], expected, rtol=1e-6)
    printed = json.loads(mesh.run("infer", "constant", "--json").stdout)
    np.testing.assert_allclose(printed["outputs"]["y"]["data"], expected, rtol=1e-6)


def test_text_model_with_the_default_locale_is_served_where_it_is_installed(mesh, tmp_path):
    """A vectoriser as scikit-learn's converter writes it; status shows what the plan requires of workers."""
    kinds = [helper.make_tensor_value_info("x", TensorProto.STRING, ["N"]), floats("y", 2)]
    vectorise = {"min_gram_length": 1, "max_gram_length": 1, "max_skip_count": 0, "mode": "TF",
                 "ngram_counts": [0], "ngram_indexes": [0, 1], "pool_strings": ["cat", "dog"]}  # fmt: skip
    nodes = [
        node("StringNormalizer", ["x"], ["lower"], case_change_action="LOWER", is_case_sensitive=0),
        node("TfIdfVectorizer", ["lower"], ["y"], **vectorise),
    ]
    (tmp_path / "text.onnx").write_bytes(model(nodes, kinds[:1], kinds[1:]).SerializeToString())
    mesh.run("deploy", str(tmp_path / "text.onnx"), "--stages=2")
    words = np.array([b"CAT", b"Dog", b"dog"], dtype=np.object_)
    assert answer(mesh, "text", x=words)["y"].tolist() == [1, 2]
    (served,) = [each for each in mesh.status().models if each.name == "text"]
    assert list(served.plan.require) == ["locale.en_US.utf8"]


def test_text_model_with_a_locale_that_no_worker_has_is_refused_with_the_cure(mesh, tmp_path):
    """The error names node and locale, and how to install it."""
    kinds = [helper.make_tensor_value_info(name, TensorProto.STRING, [name]) for name in ("x", "y")]
    upper = node(
        "StringNormalizer", ["x"], ["y"], name="up", case_change_action="UPPER", locale="zz_ZZ.UTF-8"
    )
    (tmp_path / "odd_text.onnx").write_bytes(model([upper], kinds[:1], kinds[1:]).SerializeToString())
    done = mesh.run("deploy", str(tmp_path / "odd_text.onnx"), check=False)
    assert done.returncode == 1
    assert (
        "node 'up' (StringNormalizer) needs the locale 'zz_ZZ.UTF-8', which this machine lacks" in done.stderr
    )
    assert "localedef -i zz_ZZ" in done.stderr


def test_bytes_that_are_no_text_pass_through_stages(mesh, tmp_path):
    """The bytes of an image reach a string tensor in each stage, and come back."""
    strings = [helper.make_tensor_value_info(name, TensorProto.STRING, ["N"]) for name in ("x", "y")]
    image = numpy_helper.from_array(np.array(["none"], dtype=object), "none")
    nodes = [
        node("Equal", ["x", "none"], ["first"]),
        node("Where", ["first", "none", "x"], ["a"]),
        node("Equal", ["a", "none"], ["second"]),
        node("Where", ["second", "none", "a"], ["y"]),
    ]
    graph = helper.make_graph(nodes, "g", strings[:1], strings[1:], [image])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    onnx.save(made, tmp_path / "image.onnx")
    mesh.run("deploy", str(tmp_path / "image.onnx"), "--stages=3")
    sent = np.array([JPEG, b"none", b"text"], dtype=np.object_)
    assert answer(mesh, "image", x=sent)["y"].tolist() == sent.tolist()
