"""The option `--input NAME=FILE.npy|random`."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from onnxmesh.cli.terminal.tensor_arguments import (
    bf16_bits,
    random_array,
    read_input_arrays,
    split_input_argument,
)
from onnxmesh.errors import InvalidRequest
from onnxmesh.model.tensor_spec import TensorSpec
from onnxmesh.tensors.arrays import to_array
from onnxmesh.tensors.datatype import Datatype
from onnxmesh.tensors.tensor import Tensor

IN_PROTOCOL = [datatype for datatype in Datatype if datatype.in_protocol]


def specs(**inputs):
    return [TensorSpec(name, datatype, shape) for name, (datatype, shape) in inputs.items()]


def read(arguments, **inputs):
    return read_input_arrays(arguments, "m", specs(**inputs), seed=7)


@pytest.mark.parametrize("datatype", IN_PROTOCOL)
def test_random_inputs_have_the_datatype_and_shape_of_the_model(datatype):
    """For every datatype of the protocol, with 1 for a dynamic dimension, and equal for the same seed."""
    once, again = (read(["x=random"], x=(datatype.value, (-1, 3))).arrays["x"] for _ in range(2))
    assert once.shape == (1, 3)
    assert np.array_equal(once, again)


def test_random_inputs_take_a_given_shape():
    """`random:2x5` has that shape, not the model's; `random:scalar` has none."""
    inputs = read(["x=random:2x5", "s=random:scalar"], x=("FP16", (-1, -1)), s=("FP32", ()))
    assert inputs.arrays["x"].shape == (2, 5)
    assert inputs.arrays["x"].dtype == np.float16
    assert inputs.arrays["s"].shape == ()


def test_file_inputs_are_not_cast(tmp_path):
    """Numbers and strings keep the datatype of the file; another one than the model's is refused with its conversion."""
    np.save(tmp_path / "x.npy", np.arange(3, dtype=np.float32))
    np.save(tmp_path / "s.npy", np.array(["a", "bc"]))
    arguments = [f"x={tmp_path / 'x.npy'}", f"s={tmp_path / 's.npy'}"]
    inputs = read(arguments, x=("FP32", (3,)), s=("BYTES", (2,)))
    assert inputs.arrays["x"].dtype == np.float32
    assert inputs.arrays["s"].tolist() == ["a", "bc"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["x"], "expected x=FILE.npy or x=random, got 'x'"),
        (["=random"], "expected x=FILE.npy"),
        (["x="], "expected x=FILE.npy"),
        (["x=random", "x=random"], "given twice"),
        (["y=random"], r"no input 'y': it has x \(FP32\[3\]\)"),
        (["y=y.npy"], "no input 'y': it has x"),
        (["x=random:2xa"], "expected x=random:2x3"),
        (["x=random:"], "expected x=random:2x3"),
        (["x=missing.npy"], "cannot read 'missing.npy'"),
    ],
)
def test_wrong_input_arguments_are_named(arguments, words):
    """Each error has its own message."""
    with pytest.raises(InvalidRequest, match=words):
        read(arguments, x=("FP32", (3,)))


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("a=b=random", ("a=b", "random")),
        ("a=b=random:2x3", ("a=b", "random:2x3")),
        ("a=b.npy", ("a", "b.npy")),
        ("a=b=c=d.npy", ("a=b", "c=d.npy")),
        ("x:0=random", ("x:0", "random")),
        ("an input, with=all=f.npy", ("an input, with=all", "f.npy")),
        ("a=./b=random", ("a", "./b=random")),
        ("other=c=d", ("other", "c=d")),
    ],
)
def test_names_of_inputs_may_contain_any_character(argument, expected):
    """The longest known name that the argument begins with is meant; a file may have '=' in its name."""
    assert split_input_argument(argument, ["a", "a=b", "x:0", "an input, with=all"]) == expected


def test_tensor_arguments_refuse_a_broken_archive_by_name(tmp_path):
    """A file of numpy.savez that was cut short is no .npy file either."""
    (tmp_path / "x.npy").write_bytes(b"PK\x03\x04" + bytes(40))
    with pytest.raises(InvalidRequest, match=r"x.npy' is not a .npy file of numbers or strings"):
        read([f"x={tmp_path / 'x.npy'}"], x=("FP32", (1,)))


@given(st.text(min_size=1, max_size=8), st.sampled_from(["random", "random:2x3", "f.npy", "a=b.npy"]))
def test_tensor_arguments_accept_every_name(name, source):
    """A model's only input is found, whatever its name."""
    assert split_input_argument(f"{name}={source}", [name]) == (name, source)


def test_tensor_arguments_suggest_the_input_of_a_misspelt_name():
    """Rather than a list of all inputs; a model without inputs says so; for an unknown rank the error requests a shape."""
    with pytest.raises(InvalidRequest, match=r"no input 'imput_ids'; did you mean 'input_ids'\?"):
        read(["imput_ids=random"], input_ids=("INT64", (1,)), mask=("INT64", (1,)))
    with pytest.raises(InvalidRequest, match="no input 'x': it has none"):
        read(["x=random"])
    with pytest.raises(
        InvalidRequest, match="any number of dimensions: give its shape, as in --input x=random:2x3"
    ):
        read(["x=random"], x=("FP32", None))


@pytest.mark.parametrize(
    ("datatype", "array", "words"),
    [
        (
            "FP32",
            np.zeros(3),
            r"input 'x' is FP32, but '.*x.npy' holds float64: convert it with .astype\('float32'\)",
        ),
        ("INT64", np.zeros(3, np.int32), r"holds int32: convert it with .astype\('int64'\)"),
        ("BF16", np.zeros(3), r"holds float64: convert it with .astype\('float32'\)"),
        ("FP32", np.array(["a"]), "input 'x' is FP32, but '.*x.npy' holds str"),
        ("BYTES", np.zeros(3), "input 'x' is BYTES, but '.*x.npy' holds float64$"),
    ],
)
def test_tensor_arguments_refuse_a_file_of_another_datatype_and_name_its_conversion(
    tmp_path, datatype, array, words
):
    """NumPy's default is float64, and models mostly take float32."""
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(InvalidRequest, match=words):
        read([f"x={tmp_path / 'x.npy'}"], x=(datatype, (3,)))


@pytest.mark.parametrize(
    ("datatype", "array"),
    [
        ("FP32", np.zeros(3, ">f4")),
        ("BF16", np.zeros(3, np.uint16)),
        ("BYTES", np.array([b"a"])),
        ("BOOL", np.ones(3, bool)),
    ],
)
def test_files_of_the_models_datatype_are_taken(tmp_path, datatype, array):
    """In either byte order, and BF16 as bit patterns too."""
    np.save(tmp_path / "x.npy", array)
    assert read([f"x={tmp_path / 'x.npy'}"], x=(datatype, (3,))).arrays["x"].dtype == array.dtype


def test_file_inputs_that_are_no_arrays_are_named(tmp_path):
    """Text, pickles, archives and empty files are refused by name, and no pickle is run."""
    (tmp_path / "text.npy").write_text("hello")
    (tmp_path / "empty.npy").write_bytes(b"")
    np.save(tmp_path / "pickle.npy", np.array([{}], dtype=object))
    np.savez(tmp_path / "many.npz", a=np.zeros(1))
    for name in ("text.npy", "empty.npy", "pickle.npy", "many.npz"):
        with pytest.raises(InvalidRequest, match=name):
            read([f"x={tmp_path / name}"], x=("FP32", (3,)))


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
    inputs = read(["x=random"], x=("BF16", (4,)))
    assert inputs.arrays["x"].dtype == np.uint16
    assert inputs.datatypes == {"x": Datatype.BF16}


def test_random_strings_are_bytes():
    """As a BYTES tensor has them."""
    assert random_array(Datatype.BYTES, (3,), np.random.default_rng(0)).dtype == object
