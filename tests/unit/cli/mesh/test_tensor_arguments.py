"""The option `--input NAME=FILE.npy|random`."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from onnxmesh.cli.mesh.tensor_arguments import bf16_bits, random_array, read_input_arrays, save_array
from onnxmesh.errors import InvalidRequest
from onnxmesh.oip.open_inference_pb2 import ModelMetadataResponse
from onnxmesh.tensors.arrays import to_array
from onnxmesh.tensors.datatype import Datatype
from onnxmesh.tensors.tensor import Tensor

IN_PROTOCOL = [datatype for datatype in Datatype if datatype.in_protocol]


def metadata(**inputs):
    response = ModelMetadataResponse(name="m")
    for name, (datatype, shape) in inputs.items():
        response.inputs.add(name=name, datatype=datatype, shape=shape)
    return response


@pytest.mark.parametrize("datatype", IN_PROTOCOL)
def test_random_inputs_have_the_datatype_and_shape_of_the_model(datatype):
    """For every datatype of the protocol, with 1 for a dynamic dimension, and equal for the same seed."""
    model = metadata(x=(datatype.value, [-1, 3]))
    once, again = (read_input_arrays(["x=random"], model, seed=7).arrays["x"] for _ in range(2))
    assert once.shape == (1, 3)
    assert np.array_equal(once, again)


def test_random_inputs_take_a_given_shape():
    """`random:2x5` has that shape, not the model's."""
    inputs = read_input_arrays(["x=random:2x5"], metadata(x=("FP16", [-1, -1])), seed=0)
    assert inputs.arrays["x"].shape == (2, 5)
    assert inputs.arrays["x"].dtype == np.float16


def test_file_inputs_are_not_cast(tmp_path):
    """Numbers and strings keep the datatype of the file."""
    np.save(tmp_path / "x.npy", np.arange(3, dtype=np.int16))
    np.save(tmp_path / "s.npy", np.array(["a", "bc"]))
    model = metadata(x=("FP32", [3]), s=("BYTES", [2]))
    inputs = read_input_arrays([f"x={tmp_path / 'x.npy'}", f"s={tmp_path / 's.npy'}"], model, seed=0)
    assert inputs.arrays["x"].dtype == np.int16
    assert inputs.arrays["s"].tolist() == ["a", "bc"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["x"], "expected NAME=FILE.npy"),
        (["=random"], "expected NAME=FILE.npy"),
        (["x=random", "x=random"], "given twice"),
        (["y=random"], "no input 'y': it has x"),
        (["x=random:2xa"], "expected x=random:2x3"),
        (["x=missing.npy"], "cannot read 'missing.npy'"),
    ],
)
def test_wrong_input_arguments_are_named(arguments, words):
    """Each error has its own message."""
    with pytest.raises(InvalidRequest, match=words):
        read_input_arrays(arguments, metadata(x=("FP32", [3])), seed=0)


def test_file_inputs_that_are_no_arrays_are_named(tmp_path):
    """Text, pickles, archives and empty files are refused by name, and no pickle is run."""
    (tmp_path / "text.npy").write_text("hello")
    (tmp_path / "empty.npy").write_bytes(b"")
    np.save(tmp_path / "pickle.npy", np.array([{}], dtype=object))
    np.savez(tmp_path / "many.npz", a=np.zeros(1))
    for name in ("text.npy", "empty.npy", "pickle.npy", "many.npz"):
        with pytest.raises(InvalidRequest, match=name):
            read_input_arrays([f"x={tmp_path / name}"], metadata(x=("FP32", [3])), seed=0)


@given(npst.arrays(np.float32, 5, elements=st.floats(width=32)))
def test_bf16_bits_round_to_the_nearest_value(values):
    """The same bits as the ml_dtypes package rounds to; NaN stays NaN and infinity infinity."""
    bits = bf16_bits(values)
    with np.errstate(over="ignore"):
        expected = values.astype(ml_dtypes.bfloat16).view(np.uint16)
    assert np.array_equal(bits[~np.isnan(values)], expected[~np.isnan(values)])
    back = to_array(Tensor("x", Datatype.BF16, (5,), bits.tobytes()))
    assert np.array_equal(np.isnan(back), np.isnan(values))


def test_bf16_inputs_are_bit_patterns_with_a_datatype():
    """A float32 array for a BF16 input is rounded, and its datatype is sent along."""
    inputs = read_input_arrays(["x=random"], metadata(x=("BF16", [4])), seed=0)
    assert inputs.arrays["x"].dtype == np.uint16
    assert inputs.datatypes == {"x": Datatype.BF16}


def test_save_array_uses_safe_names(tmp_path):
    """Strings are saved without pickling; a name with a slash stays in the folder."""
    path = save_array(tmp_path / "new", "a/b:0", np.array([b"x", b"yz"], dtype=object))
    assert path == tmp_path / "new" / "a_b_0.npy"
    assert np.load(path).tolist() == [b"x", b"yz"]
    assert random_array(Datatype.BYTES, (3,), np.random.default_rng(0)).dtype == object
