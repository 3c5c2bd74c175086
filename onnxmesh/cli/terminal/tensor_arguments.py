"""Input tensors of `onnxmesh infer` and `verify`: `NAME=FILE.npy` and `NAME=random` as arrays."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from onnxmesh.client.infer_result import Array
from onnxmesh.error_text import did_you_mean
from onnxmesh.errors import InvalidRequest
from onnxmesh.model.tensor_spec import TensorSpec
from onnxmesh.tensors.datatype import NUMPY, Datatype

RANDOM = "random"

_SHAPE = re.compile(r"scalar|[0-9]+(x[0-9]+)*")


@dataclass(frozen=True, slots=True)
class InputTensors:
    """Arrays by input name, and the datatypes that cannot be derived from an array's dtype."""

    arrays: dict[str, Array]
    datatypes: dict[str, Datatype]


def read_input_arrays(
    arguments: Sequence[str], model: str, inputs: Sequence[TensorSpec], seed: int
) -> InputTensors:
    """Returns the arrays that the options `--input` describe.

    Names of inputs may contain any character: of the known names, the longest that an argument begins with is meant.

    Args:
        arguments: `NAME=FILE.npy`, `NAME=random`, or `NAME=random:2x3` with a shape (`random:scalar` has no dimensions).
        model: The model's name, for messages.
        inputs: The model's inputs.
        seed: Seed of random values.

    Raises:
        InvalidRequest: The model has no such input, an argument or its file cannot be read, or a file is of another
            datatype than the model's (INVALID_ARGUMENT). Shapes are not compared with the model's.
    """
    known = {spec.name: spec for spec in inputs}
    random = np.random.default_rng(seed)
    found = InputTensors({}, {})
    for argument in arguments:
        name, source = split_input_argument(argument, list(known))
        if name not in known:
            raise InvalidRequest(f"model '{model}' has no input '{name}'{_expected(name, known)}")
        if name in found.arrays:
            raise InvalidRequest(f"--input: '{name}' is given twice")
        spec = known[name]
        if source == RANDOM or source.startswith(f"{RANDOM}:"):
            array = random_array(Datatype(spec.datatype), _shape(source, spec), random)
        else:
            array = _load(Path(source))
            _check_datatype(array, spec, source)
        if spec.datatype == Datatype.BF16:
            found.datatypes[name] = Datatype.BF16
            array = bf16_bits(array) if array.dtype == np.float32 else array
        found.arrays[name] = array
    return found


def split_input_argument(argument: str, known: Sequence[str]) -> tuple[str, str]:
    """Returns name and source of an argument `NAME=SOURCE`, where names may contain '='.

    Raises:
        InvalidRequest: It has no name or no source (INVALID_ARGUMENT).
    """
    for name in sorted(known, key=len, reverse=True):
        if argument.startswith(f"{name}=") and len(argument) > len(name) + 1:
            return name, argument[len(name) + 1 :]
    name, equals, source = argument.partition("=")
    if not name or not equals or not source:
        example = known[0] if known else "NAME"
        raise InvalidRequest(f"--input: expected {example}=FILE.npy or {example}=random, got '{argument}'")
    return name, source


def random_array(datatype: Datatype, shape: Sequence[int], random: np.random.Generator) -> Array:
    """Returns normal floats, integers from 0 to 9, booleans, or short words; BF16 comes as float32."""
    if datatype is Datatype.BYTES:
        words = random.choice([b"red", b"green", b"blue", b""], size=tuple(shape))
        return np.asarray(words, dtype=np.object_)
    if datatype is Datatype.BOOL:
        return np.asarray(random.random(tuple(shape)) < 0.5)
    if datatype in {Datatype.FP16, Datatype.FP32, Datatype.FP64, Datatype.BF16}:
        dtype = NUMPY.get(datatype, np.dtype(np.float32))
        return np.asarray(random.standard_normal(tuple(shape))).astype(dtype)
    return np.asarray(random.integers(0, 10, tuple(shape))).astype(NUMPY[datatype])


def bf16_bits(array: Array) -> Array:
    """Returns the bit patterns of the BF16 values nearest to float32 `array`, ties to even, as uint16."""
    bits = np.ascontiguousarray(array, dtype=np.float32).view(np.uint32).astype(np.uint64)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    # Rounding must not carry a NaN over into infinity.
    return np.where(np.isnan(array), 0x7FC0, rounded).astype(np.uint16)


def _load(path: Path) -> Array:
    try:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
    except OSError as error:
        raise InvalidRequest(f"cannot read '{path}': {error.strerror or 'not a .npy file'}") from error
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        # NumPy's own text suggests to unpickle the file, which runs whatever is in it.
        raise InvalidRequest(
            f"'{path}' is not a .npy file of numbers or strings: write one with numpy.save"
        ) from error
    if not isinstance(loaded, np.ndarray):
        raise InvalidRequest(f"'{path}' holds several arrays: one .npy file for each input is expected")
    return loaded


def _check_datatype(array: Array, spec: TensorSpec, source: str) -> None:
    """Refuses a file of another datatype than the model's, with what converts it."""
    datatype = Datatype(spec.datatype)
    strings = array.dtype.kind in "SUO"
    if datatype is Datatype.BYTES or strings:
        fits = strings and datatype is Datatype.BYTES
        wanted = "strings"
    elif datatype is Datatype.BF16:
        fits, wanted = array.dtype in {np.dtype(np.float32), np.dtype(np.uint16)}, "float32"
    else:
        fits, wanted = array.dtype.newbyteorder("<") == NUMPY[datatype], NUMPY[datatype].name
    if not fits:
        cure = "" if strings or wanted == "strings" else f": convert it with .astype('{wanted}')"
        raise InvalidRequest(
            f"input '{spec.name}' is {spec.datatype}, but '{source}' holds {array.dtype.name}{cure}"
        )


def _shape(source: str, spec: TensorSpec) -> tuple[int, ...]:
    """Returns the shape after `random:`, or the model's with 1 for each dynamic dimension."""
    _, colon, text = source.partition(":")
    if not colon:
        if spec.shape is None:
            raise InvalidRequest(
                f"input '{spec.name}' may have any number of dimensions: give its shape, as in "
                f"--input {spec.name}=random:2x3"
            )
        return tuple(1 if size < 0 else size for size in spec.shape)
    if not _SHAPE.fullmatch(text):
        raise InvalidRequest(f"--input: expected {spec.name}=random:2x3, got '{spec.name}={source}'")
    return () if text == "scalar" else tuple(map(int, text.split("x")))


def _expected(name: str, known: dict[str, TensorSpec]) -> str:
    """Returns the input that was probably meant, or all of them."""
    if not known:
        return ": it has none"
    return did_you_mean(name, known) or f": it has {', '.join(map(_declared, known.values()))}"


def _declared(spec: TensorSpec) -> str:
    return f"{spec.name} ({spec.datatype}{'' if spec.shape is None else list(spec.shape)})"
