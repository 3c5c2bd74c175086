"""Encoding and decoding of tensors."""

from __future__ import annotations

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.errors import CorruptData
from onnxmesh.tensors.arrays import from_array, to_array
from onnxmesh.tensors.compression.codec import EncodedTensor, decode_elements, encode_elements
from onnxmesh.tensors.compression.encoding import Encoding
from onnxmesh.tensors.datatype import NUMPY, Datatype
from onnxmesh.tensors.tensor import Tensor

FLOATS = (Datatype.FP16, Datatype.FP32, Datatype.FP64)
LOSSY = [each for each in Encoding if not each.is_lossless]


def encoded_and_decoded(tensor, encoding):
    """Returns the tensor as received; None where it cannot be encoded."""
    encoded = encode_elements(tensor, encoding)
    if encoded is None:
        return None
    back = decode_elements(
        tensor.name, tensor.datatype, tensor.shape, encoded=encoded, num_bytes=tensor.byte_size
    )
    assert (back.name, back.datatype, back.shape) == (tensor.name, tensor.datatype, tensor.shape)
    assert back.byte_size == tensor.byte_size
    return back


@given(st.sampled_from(Datatype), st.integers(0, 40), st.integers(1, 3), st.data())
def test_zstd_restores_every_bit(datatype, rows, columns, data):
    """Of every datatype, strings and elements below a byte included, whatever the bits: NaNs, empty tensors."""
    size = datatype.byte_size(rows * columns)
    content = data.draw(st.binary(max_size=64) if size is None else st.binary(min_size=size, max_size=size))
    tensor = Tensor("x", datatype, (rows, columns), content)
    assert bytes(encoded_and_decoded(tensor, Encoding.ZSTD).data) == content


@given(
    st.sampled_from(FLOATS),
    st.sampled_from(LOSSY),
    st.lists(st.floats(width=16), max_size=30),
    st.floats(-30, 30),
)
def test_roundings_keep_their_error_bounds(datatype, encoding, numbers, magnitude):
    """2^-11 of the largest magnitude in half precision, half a step of 256 in 8 bits; zeros stay zeros.

    A tensor for which the bound cannot be kept is not encoded.
    """
    if not encoding.accepts(datatype):
        return
    with np.errstate(over="ignore", invalid="ignore"):
        array = (np.array(numbers) * 10**magnitude).astype(NUMPY[datatype])
    back = encoded_and_decoded(from_array("x", array), encoding)
    if not np.isfinite(array).all():
        assert back is None
    if back is None:
        return
    exact, found = array.astype(np.float64), to_array(back).astype(np.float64)
    largest = np.abs(exact).max(initial=0.0)
    spread = exact.max(initial=0.0) - exact.min(initial=0.0)
    bound = largest * 2**-11 if encoding.rounding is Encoding.FP16 else spread / 255 * 0.501
    if datatype is Datatype.FP16:
        bound += largest * 2**-11  # what comes back is rounded to that again
    assert np.abs(exact - found).max(initial=0.0) <= bound
    assert not found[exact == 0].any()


@pytest.mark.parametrize("encoding", LOSSY)
@pytest.mark.parametrize("odd", [np.inf, -np.inf, np.nan, 3e38])
def test_encode_elements_refuses_what_rounding_would_lose(encoding, odd):
    """An infinity, a NaN, or a number beyond half precision: the tensor is not encoded."""
    array = np.ones(100, np.float32)
    array[70] = odd
    assert encoded_and_decoded(from_array("x", array), encoding) is None


def test_encode_elements_refuses_numbers_too_small_for_half_precision():
    """Half precision has no bits for them; 8 bits, which have a scale, do."""
    tensor = from_array("x", np.linspace(1e-7, 1e-6, 100, dtype=np.float32))
    assert encode_elements(tensor, Encoding.FP16) is None
    assert encoded_and_decoded(tensor, Encoding.INT8) is not None


def test_encode_elements_makes_activations_smaller():
    """Half and a quarter by rounding; by zstd more than without shuffled bytes."""
    array = np.random.default_rng(1).standard_normal(100_000).astype(np.float32)
    tensor = from_array("x", array)
    size = {each: len(encode_elements(tensor, each).data) / tensor.byte_size for each in Encoding}
    assert (size[Encoding.FP16], size[Encoding.INT8]) == (0.5, 0.25)
    assert size[Encoding.ZSTD] < 0.9
    assert size[Encoding.ZSTD] < len(zstandard.ZstdCompressor(level=1).compress(array)) / tensor.byte_size
    assert size[Encoding.INT8_ZSTD] < 0.25


@pytest.mark.parametrize(
    ("datatype", "encoded", "num_bytes", "why"),
    [
        (Datatype.FP32, EncodedTensor(Encoding.FP16, b"123"), 16, "expected 8 bytes of fp16, got 3"),
        (Datatype.FP32, EncodedTensor(Encoding.FP16, b"12345678"), 12, "has 16 bytes, 12 are announced"),
        (Datatype.FP32, EncodedTensor(Encoding.INT8, b"1234", float("nan")), 16, "steps of nan"),
        (Datatype.FP32, EncodedTensor(Encoding.INT8, b"1234", 1.0, 999), 16, "around 999"),
        (
            Datatype.FP32,
            EncodedTensor(Encoding.INT8, b"1234", 1e38),
            16,
            "steps of 1e\\+38 around 0 do not fit FP32",
        ),
        (Datatype.FP32, EncodedTensor(Encoding.INT8, b"1234", -1.0), 16, "steps of -1"),
        (Datatype.INT32, EncodedTensor(Encoding.INT8, b"1234", 1.0), 16, "INT32 cannot be encoded as int8"),
        (Datatype.FP32, EncodedTensor(Encoding.ZSTD, b"no zstd at all"), 16, "cannot be decompressed"),
        (Datatype.BYTES, EncodedTensor(Encoding.ZSTD, b""), 16, "cannot be decompressed"),
    ],
)
def test_decode_elements_refuses_what_does_not_match_its_description(datatype, encoded, num_bytes, why):
    """The message names what was expected and what was received."""
    with pytest.raises(CorruptData, match=why):
        decode_elements("x", datatype, (4,), encoded=encoded, num_bytes=num_bytes)


def test_decode_elements_allocates_no_more_than_announced():
    """A small zstd frame of much content is refused by its announced size, or for lack of one."""
    bomb = zstandard.ZstdCompressor().compress(bytes(1 << 26))
    assert len(bomb) < 8192
    with pytest.raises(CorruptData, match="expected 16 bytes in zstd, 67108864 are announced"):
        decode_elements("x", Datatype.FP32, (4,), encoded=EncodedTensor(Encoding.ZSTD, bomb), num_bytes=16)
    unsized = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(1 << 26))
    with pytest.raises(CorruptData, match="expected 16 bytes in zstd"):
        decode_elements("x", Datatype.FP32, (4,), encoded=EncodedTensor(Encoding.ZSTD, unsized), num_bytes=16)


@given(st.binary(max_size=200), st.sampled_from(Encoding), st.sampled_from(Datatype), st.integers(0, 64))
def test_decode_elements_returns_a_tensor_or_corrupt_data(data, encoding, datatype, num_bytes):
    """No other error is raised for any bytes."""
    try:
        tensor = decode_elements(
            "x", datatype, (3,), encoded=EncodedTensor(encoding, data, 0.5, 3), num_bytes=num_bytes
        )
    except CorruptData:
        return
    assert tensor.byte_size == num_bytes
