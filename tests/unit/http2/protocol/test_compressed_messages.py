"""Compressed messages."""

from __future__ import annotations

import gzip
import random
import zlib

import pytest

from onnxmesh.errors import Internal, TooLarge
from onnxmesh.http2.protocol.compressed_messages import (
    SMALL_COMPRESSED_BYTES,
    CompressedMessage,
    gzip_message,
)

COMPRESS = {"gzip": gzip.compress, "deflate": zlib.compress}


@pytest.mark.parametrize("encoding", COMPRESS)
@pytest.mark.parametrize(
    ("size", "noise"),
    [
        (0, 0),
        (SMALL_COMPRESSED_BYTES, 0),
        (SMALL_COMPRESSED_BYTES + 1, 0),
        ((5 << 20) + 7, 0),
        (400_000, 200_000),
        (5 << 20, 2_000_000),
    ],
)
def test_compressed_message_is_decompressed_within_its_limit(encoding, size, noise):
    """On the event loop only if it is small before and after; one byte more than the limit is refused."""
    plain = random.Random(1).randbytes(noise) + bytes(size - noise)
    data = COMPRESS[encoding](plain)
    message = CompressedMessage(data, encoding, size)
    assert message.decompress() == plain
    is_small = size <= SMALL_COMPRESSED_BYTES
    assert message.decompress_small() == (plain if is_small else None)
    if size:
        longer = CompressedMessage(data, encoding, size - 1)
        with pytest.raises(TooLarge, match=rf"more, uncompressed, vs\. {size - 1}"):
            longer.decompress_small() if is_small else longer.decompress()


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"abc", "not what its encoding gzip says"),
        (gzip.compress(bytes(1_000_000))[:-9], "cut short"),
        (b"", "cut short"),
    ],
)
def test_compressed_message_that_is_malformed_is_refused(data, match):
    """As INTERNAL, with the reason."""
    with pytest.raises(Internal, match=match):
        CompressedMessage(data, "gzip", 1 << 20).decompress()


@pytest.mark.parametrize("size", [1_000, (3 << 20) + 7])
def test_gzip_message_is_read_by_every_client(size):
    """By the library gzip, as well as by what reads requests here."""
    message = bytes(range(250)) * (size // 250)
    packed = gzip_message(message)
    assert len(packed) < len(message) / 2
    assert gzip.decompress(packed) == message
    assert CompressedMessage(packed, "gzip", len(message)).decompress() == message


@pytest.mark.parametrize("size", [1_000, 3 << 20])
def test_gzip_message_gives_up_what_does_not_become_shorter(size):
    """Noise, as most weights and activations are nearly."""
    assert gzip_message(random.Random(1).randbytes(size)) is None
