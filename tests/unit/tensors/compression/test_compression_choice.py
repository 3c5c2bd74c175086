"""The choice of encodings by link."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxmesh.tensors.compression.compression_choice import (
    MAX_TENSORS,
    MIN_COMPRESSED_BYTES,
    RETRY_AFTER_SENDS,
    Choice,
    CompressionChoice,
    LossAllowance,
)
from onnxmesh.tensors.compression.encoding import ROUNDINGS, Encoding
from onnxmesh.tensors.datatype import Datatype

SIZE = 4 << 20
SLOW, FAST = 12.5e6, 2e9
NONE = Choice(Encoding.NONE)


def choose(choice, bytes_per_s, *, tensor="h", size=SIZE, datatype=Datatype.FP32, roundings=()):
    return choice.choose(
        "to m/1/1", tensor, datatype, num_bytes=size, bytes_per_s=bytes_per_s, roundings=roundings
    )


def encoded(choice, encoding, share, bytes_per_s=400e6, tensor="h"):
    """Records that a tensor was encoded to a share of its bytes, at some speed."""
    size = None if share is None else int(SIZE * share)
    choice.observe_encoding(
        "to m/1/1", tensor, encoding, num_bytes=SIZE, encoded_bytes=size, seconds=SIZE / bytes_per_s
    )


def test_compression_choice_tries_zstd_on_a_sample_first():
    """The first tensor is sent uncompressed and a sample of it is measured; that decides for the next."""
    choice = CompressionChoice()
    assert choose(choice, SLOW) == Choice(Encoding.NONE, Encoding.ZSTD)
    encoded(choice, Encoding.ZSTD, 0.5)
    assert choose(choice, SLOW) == Choice(Encoding.ZSTD)
    assert choose(choice, SLOW, tensor="another") == Choice(Encoding.NONE, Encoding.ZSTD)


def test_compression_choice_ignores_gains_below_a_tenth():
    """The size, and the time to encode and decode, count together."""
    choice = CompressionChoice()
    choose(choice, SLOW)
    encoded(choice, Encoding.ZSTD, 0.88)
    assert choose(choice, SLOW) == NONE
    other = CompressionChoice()
    choose(other, SLOW)
    encoded(other, Encoding.ZSTD, 0.8)
    assert choose(other, SLOW) == Choice(Encoding.ZSTD)


def test_compression_choice_tries_nothing_on_a_fast_link():
    """Sending is faster than any encoding; small tensors are sent uncompressed on any link."""
    choice = CompressionChoice()
    assert choose(choice, FAST, roundings=ROUNDINGS) == NONE
    assert choose(choice, SLOW, size=MIN_COMPRESSED_BYTES - 1, roundings=ROUNDINGS) == NONE
    encoded(choice, Encoding.ZSTD, 0.05)
    assert choose(choice, FAST) == NONE


def test_compression_choice_depends_on_the_link():
    """Zstd over a slow one, 8 bits over one that zstd is too slow for, as it is over a fast one."""
    choice = CompressionChoice()
    for encoding, share, speed in (
        (Encoding.ZSTD, 0.6, 300e6),
        (Encoding.INT8, 0.25, 3e9),
        (Encoding.INT8_ZSTD, 0.05, 900e6),
        (Encoding.FP16, 0.5, 700e6),
        (Encoding.FP16_ZSTD, 0.3, 300e6),
    ):
        for _ in range(20):
            encoded(choice, encoding, share, speed)
            choice.observe_decoding(encoding, SIZE, SIZE / (2 * speed))
    assert choose(choice, 1e6, roundings=ROUNDINGS).encoding is Encoding.INT8_ZSTD
    assert choose(choice, 400e6, roundings=ROUNDINGS).encoding is Encoding.INT8
    assert choose(choice, 20e9, roundings=ROUNDINGS).encoding is Encoding.NONE
    assert choose(choice, 1e6, roundings=(Encoding.FP16,)).encoding is Encoding.FP16_ZSTD
    assert choose(choice, 1e6).encoding is Encoding.ZSTD


@given(st.sampled_from(Datatype), st.floats(1e3, 1e11), st.sets(st.sampled_from(ROUNDINGS)), st.data())
def test_compression_choice_rounds_only_where_that_is_allowed(datatype, bytes_per_s, roundings, data):
    """Whatever was learned: only allowed roundings, and only of types that have them, are used or tried."""
    choice = CompressionChoice()
    for encoding in Encoding:
        if encoding is not Encoding.NONE and data.draw(st.booleans()):
            encoded(choice, encoding, data.draw(st.floats(0.001, 1)), data.draw(st.floats(1e6, 1e10)))
    found = choose(choice, bytes_per_s, datatype=datatype, roundings=roundings)
    for encoding in (found.encoding, found.to_try or Encoding.NONE):
        assert encoding.is_lossless or encoding.rounding in roundings
        assert encoding.accepts(datatype)


def test_compression_choice_retries_encodings_that_did_not_pay():
    """One sample in so many tensors: contents change."""
    choice = CompressionChoice()
    choose(choice, SLOW)
    encoded(choice, Encoding.ZSTD, 1.0)
    tries = [choose(choice, SLOW).to_try for _ in range(RETRY_AFTER_SENDS)]
    assert tries == [None] * (RETRY_AFTER_SENDS - 1) + [Encoding.ZSTD]


def test_compression_choice_gives_up_encodings_that_fail():
    """A tensor that is refused some times goes as it is, until it is tried again."""
    choice = CompressionChoice()
    assert choose(choice, SLOW, roundings=(Encoding.INT8,)).encoding is Encoding.INT8
    encoded(choice, Encoding.INT8, None)
    assert choose(choice, SLOW, roundings=(Encoding.INT8,)).encoding is not Encoding.INT8


def test_compression_choice_learns_times():
    """A process whose processor is slow compresses less than it was expected to."""
    choice = CompressionChoice()
    choose(choice, SLOW)
    encoded(choice, Encoding.ZSTD, 0.5, bytes_per_s=20e6)
    assert choose(choice, SLOW).encoding is Encoding.NONE
    reading = CompressionChoice()
    choose(reading, SLOW)
    encoded(reading, Encoding.ZSTD, 0.5)
    for _ in range(30):
        reading.observe_decoding(Encoding.ZSTD, SIZE, SIZE / 20e6)
    assert choose(reading, SLOW).encoding is Encoding.NONE


def test_compression_choice_bounds_its_records():
    """The least recently sent tensors are evicted."""
    choice = CompressionChoice()
    for number in range(MAX_TENSORS + 50):
        choose(choice, SLOW, tensor=f"t{number}")
    assert len(choice._records) == MAX_TENSORS


@pytest.mark.parametrize(
    ("labels", "expected"),
    [([], set()), (["int8"], {Encoding.INT8}), (["fp16", "from the future"], {Encoding.FP16})],
)
def test_loss_allowance_is_for_the_tensors_that_it_names(labels, expected):
    """Unknown labels allow nothing."""
    allowance = LossAllowance.of_labels(labels, ["h"])
    assert allowance.of("h") == expected
    assert not allowance.of("x")
