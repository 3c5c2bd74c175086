"""The fields of an HPACK header block, found without decoding them.

Source: https://www.rfc-editor.org/rfc/rfc7541#section-6
"""

from __future__ import annotations

from collections.abc import Iterator

from hpack import Decoder, HPACKDecodingError, OversizedHeaderListError

MAX_KEPT_FIELDS = 32
"""Fields at the beginning of a skipped block that are decoded: what a request is, is in the first ones."""

MAX_KEPT_BYTES = 512
"""The longest such field, compressed."""

MAX_TABLE_CHANGES = 16_384
"""Fields of a skipped block that may change the table: each takes some microseconds, however short it is."""

_INDEXED = 0x80
_ADDED = 0x40
_SIZE_UPDATE = 0x20
_HUFFMAN = 0x80
_LONGEST_CODE_BITS = 30  # of one letter in Huffman's code; 8 bits make a byte
_MAX_INTEGER_BYTES = 5


def header_fields(block: bytes) -> Iterator[bytes]:
    """Yields each field of a block, and each update of the table's size, as it was received.

    Raises:
        HPACKDecodingError: A field is cut short, or a number in it is too long.
    """
    position = 0
    while position < len(block):
        begin, first = position, block[position]
        if first & _INDEXED:
            _, position = _integer(block, position, 7)
        elif first & (_ADDED | _SIZE_UPDATE) == _SIZE_UPDATE:
            _, position = _integer(block, position, 5)
        else:
            name, position = _integer(block, position, 6 if first & _ADDED else 4)
            for _ in range(1 if name else 2):
                length, position = _integer(block, position, 7)
                position += length
        if position > len(block):
            raise HPACKDecodingError("a header block is cut short")
        yield block[begin:position]


def skip_block(block: bytes, decoder: Decoder) -> list[tuple[bytes, bytes]]:
    """Applies what a block does to the dynamic table, and returns some of its first headers.

    Time and memory are in proportion to the block, however much its references stand for: what leaves the table as it is is not
    decoded, and neither is a value that is longer than the whole table, which only empties it.

    Raises:
        OversizedHeaderListError: More fields change the table than `MAX_TABLE_CHANGES`.
        HPACKError: The block cannot be decoded, and so no later one either.
    """
    num_changes = 0
    kept: list[tuple[bytes, bytes]] = []
    for number, field in enumerate(header_fields(block)):
        if number < MAX_KEPT_FIELDS and len(field) <= MAX_KEPT_BYTES:
            kept += [(name, value) for name, value in decoder.decode(field, raw=True)]
            continue
        if field[0] & _INDEXED or not field[0] & (_ADDED | _SIZE_UPDATE):
            continue
        num_changes += 1
        if num_changes > MAX_TABLE_CHANGES:
            raise OversizedHeaderListError(f"more than {MAX_TABLE_CHANGES} fields change the table")
        if field[0] & _ADDED and _least_size(field) > decoder.header_table_size:
            size = decoder.header_table_size
            decoder.header_table_size = 0
            decoder.header_table_size = size
        else:
            decoder.decode(field, raw=True)
    return kept


def _least_size(field: bytes) -> int:
    """Returns the fewest bytes that the strings of a literal field can have once they are decoded."""
    name, position = _integer(field, 0, 6)
    size = 0
    for _ in range(1 if name else 2):
        is_huffman = field[position] & _HUFFMAN
        length, position = _integer(field, position, 7)
        position += length
        size += length * 8 // _LONGEST_CODE_BITS if is_huffman else length
    return size


def _integer(block: bytes, position: int, num_bits: int) -> tuple[int, int]:
    """Returns the number whose prefix of `num_bits` bits ends the byte at a position, and the position after it."""
    if position >= len(block):
        raise HPACKDecodingError("a header block is cut short")
    most = (1 << num_bits) - 1
    value = block[position] & most
    position += 1
    if value < most:
        return value, position
    for number in range(_MAX_INTEGER_BYTES):
        if position >= len(block):
            break
        byte = block[position]
        position += 1
        value += (byte & 0x7F) << 7 * number
        if byte < 0x80:
            return value, position
    raise HPACKDecodingError("a number in a header block is cut short or too long")
