"""Fields of header blocks, against the library hpack."""

from __future__ import annotations

import pytest
from hpack import Decoder, Encoder, HPACKDecodingError, HPACKError, OversizedHeaderListError
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxmesh.http2.protocol.header_fields import (
    MAX_KEPT_BYTES,
    MAX_KEPT_FIELDS,
    MAX_TABLE_CHANGES,
    header_fields,
    skip_block,
)

names = st.sampled_from([b":path", b"te", b"x-a", b"x-long-name-of-a-header", b"n" * 300])
values = st.binary(max_size=40) | st.integers(0, 20_000).map(lambda size: b"v" * size)
headers = st.lists(st.tuples(names, values, st.booleans()), max_size=40)


@settings(deadline=None)
@given(headers, st.booleans())
def test_header_fields_are_all_of_a_block(fields, huffman):
    """One for each header, in order, and nothing between them."""
    block = Encoder().encode(fields, huffman=huffman)
    found = list(header_fields(block))
    assert b"".join(found) == block
    assert len(found) == len(fields)


@settings(deadline=None)
@given(st.lists(headers, min_size=1, max_size=4), st.lists(st.integers(0, 4096), max_size=4), st.booleans())
def test_skip_block_leaves_the_table_as_decoding_does(blocks, sizes, huffman):
    """Whatever is skipped: references, values that are never indexed, values longer than the table, updates of its size."""
    encoder, oracle, decoder = Encoder(), Decoder(1 << 30), Decoder(1 << 30)
    for number, fields in enumerate(blocks):
        if number < len(sizes):
            encoder.header_table_size = sizes[number]
        block = encoder.encode(fields, huffman=huffman)
        decoded = oracle.decode(block, raw=True)
        kept = skip_block(block, decoder)
        assert decoder.header_table.dynamic_entries == oracle.header_table.dynamic_entries
        assert decoder.header_table_size == oracle.header_table_size
        short = [
            header for header in decoded[:MAX_KEPT_FIELDS] if sum(map(len, header)) < MAX_KEPT_BYTES - 10
        ]
        assert [header for header in kept if sum(map(len, header)) < MAX_KEPT_BYTES - 10] == short or sizes


@pytest.mark.parametrize("field", [b"\x41\x00", b"\x3f\xe1\x1f"])
def test_skip_block_refuses_a_block_of_very_many_changes(field):
    """The shortest fields, an empty value and an update of the table's size, take as long as longer ones."""
    skip_block(field * MAX_TABLE_CHANGES, Decoder())
    with pytest.raises(OversizedHeaderListError):
        skip_block(field * (MAX_TABLE_CHANGES + MAX_KEPT_FIELDS + 1), Decoder())


@settings(deadline=None)
@given(st.binary(max_size=100))
def test_skip_block_fails_alone_for_what_cannot_be_decoded(block):
    """With the errors of the library."""
    try:
        skip_block(block, Decoder())
    except (HPACKError, IndexError, ValueError):
        return


@pytest.mark.parametrize(
    "block", [b"\x40", b"\x40\x03ab", b"\x00\x7f", b"\xff\xff\xff\xff\xff\xff\xff", b"\x3f"]
)
def test_header_fields_fail_for_a_block_that_is_cut_short(block):
    """Or has a number without end."""
    with pytest.raises(HPACKDecodingError):
        list(header_fields(block))
