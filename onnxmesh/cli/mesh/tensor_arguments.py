"""Input tensors of `onnxmesh infer`: `NAME=FILE.npy` and `NAME=random` as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from onnxmesh.client.infer_result import Array
from onnxmesh.errors import InvalidRequest
from onnxmesh.oip.open_inference_pb2 import ModelMetadataResponse
from onnxmesh.tensors.datatype import NUMPY, Datatype

RANDOM = "random"


@dataclass(frozen=True, slots=True)
class InputTensors:
    """Arrays by input name, and the datatypes that cannot be derived from an array's dtype."""

    arrays: dict[str, Array]
    datatypes: dict[str, Datatype]


def read_input_arrays(arguments: Sequence[str], metadata: ModelMetadataResponse, seed: int) -> InputTensors:
    """Returns the arrays that the options `--input` describe.

    Args:
        arguments: `NAME=FILE.npy`, `NAME=random`, or `NAME=random:2x3` with a shape.
        metadata: The model's signature.
        seed: Seed of random values.

    Raises:
        InvalidRequest: An argument or its file cannot be read (INVALID_ARGUMENT). The gateway checks whether
            the inputs match the model.
    """
    known = {tensor.name: tensor for tensor in metadata.inputs}
    random = np.random.default_rng(seed)
    inputs = InputTensors({}, {})
    for argument in arguments:
        name, equals, source = argument.partition("=")
        if not name or not equals or not source:
            raise InvalidRequest(f"--input: expected NAME=FILE.npy or NAME=random, got '{argument}'")
        if name in inputs.arrays:
            raise InvalidRequest(f"--input: '{name}' is given twice")
        if source == RANDOM or source.startswith(f"{RANDOM}:"):
            if name not in known:
                raise InvalidRequest(f"model '{metadata.name}' has no input '{name}': it has {_list(known)}")
            shape = _shape(source, list(known[name].shape), name)
            array = random_array(Datatype(known[name].datatype), shape, random)
        else:
            array = _load(Path(source))
        if name in known and known[name].datatype == Datatype.BF16:
            inputs.datatypes[name] = Datatype.BF16
            array = bf16_bits(array) if array.dtype == np.float32 else array
        inputs.arrays[name] = array
    return inputs


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


def save_array(folder: Path, name: str, array: Array) -> Path:
    """Writes an output as .npy; strings become fixed-length bytes. Returns the file.

    Raises:
        InvalidRequest: The folder cannot be written to (INVALID_ARGUMENT).
    """
    path = folder / f"{name.replace('/', '_').replace(':', '_')}.npy"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        np.save(path, array.astype(np.bytes_) if array.dtype == np.object_ else array)
    except OSError as error:
        raise InvalidRequest(f"cannot write '{path}': {error.strerror}") from error
    return path


def _load(path: Path) -> Array:
    try:
        loaded = np.load(path, allow_pickle=False)
    except OSError as error:
        raise InvalidRequest(f"cannot read '{path}': {error.strerror or 'not a .npy file'}") from error
    except (ValueError, EOFError) as error:
        raise InvalidRequest(f"'{path}' is not a .npy file of numbers or strings: {error}") from error
    if not isinstance(loaded, np.ndarray):
        raise InvalidRequest(f"'{path}' holds several arrays: one .npy file for each input is expected")
    return loaded


def _shape(source: str, model_shape: list[int], name: str) -> list[int]:
    """Returns the shape after `random:`, or the model's with 1 for each dynamic dimension."""
    _, colon, text = source.partition(":")
    if not colon:
        return [1 if size < 0 else size for size in model_shape]
    sizes = text.split("x")
    if not all(size.isdecimal() for size in sizes):
        raise InvalidRequest(f"--input: expected {name}=random:2x3, got '{name}={source}'")
    return [int(size) for size in sizes]


def _list(known: dict[str, ModelMetadataResponse.TensorMetadata]) -> str:
    return ", ".join(f"{name} ({tensor.datatype}{list(tensor.shape)})" for name, tensor in known.items())
