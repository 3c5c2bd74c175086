"""HPACK header blocks: decoder of requests, encoder of responses.

The decoder keeps the client's dynamic table. The encoder never refers to a dynamic table, so that most responses are constants.

Source: https://www.rfc-editor.org/rfc/rfc7541
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from functools import lru_cache
from http import HTTPStatus
from urllib.parse import quote_from_bytes

from hpack import Decoder, HPACKError, OversizedHeaderListError

from onnxmesh.error_text import bounded
from onnxmesh.http2.protocol.compressed_messages import ENCODINGS
from onnxmesh.http2.protocol.error_codes import ConnectionFault, ErrorCode
from onnxmesh.http2.protocol.header_fields import skip_block
from onnxmesh.http2.protocol.request_head import Metadata, RequestHead
from onnxmesh.rpc.frames.varint import varint

Headers = list[tuple[bytes, bytes]]

_MAX_ENTRY_BYTES = 4096  # of the dynamic table, whose default size SETTINGS do not change
_FIELD_BYTES = 32  # what each header counts beside its name and value
_MAX_EXPANSION = 4  # a block that becomes longer by so much is an attack
_MAX_CACHED = 64
_MAX_CACHED_BYTES = 512  # longer blocks are not cached
_INDEXED = 0x80
_LONG_INDEX = 0xFF
_UPDATE_BITS = 0xE0
_SIZE_UPDATE = 0x20
_STATUS_200 = b"\x88"
_STATUS = b"\x08"
_CONTENT_TYPE = b"\x0f\x10"
_NOT_PERCENT_ENCODED = " !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~"


class HeaderDecoder:
    """Decoder of one client's header blocks.

    Clients send the same block again and again: one that leaves the dynamic table as it was is cached, with its meaning.

    A block over the limit fails its own request. It changes the dynamic table all the same, and so it is read to its end.

    Args:
        max_list_bytes: The longest list of headers of one block, decompressed; each header counts its name, value and 32 bytes.
    """

    __slots__ = ("_decoder", "_heads", "_max_list_bytes", "_prefixes")

    def __init__(self, max_list_bytes: int) -> None:
        self._max_list_bytes = max_list_bytes
        self._decoder = Decoder(_MAX_EXPANSION * max_list_bytes)
        self._heads: dict[bytes, RequestHead] = {}
        self._prefixes: dict[bytes, Headers] = {}

    def request_head(self, block: bytes) -> RequestHead:
        """Returns the head of a request; of one with too many headers, one that refuses it. Blocks must be decoded in the order of the wire.

        Raises:
            ConnectionFault: The block cannot be decoded, and so no later one either, or references make a short block far too long.
            StreamFault: It can, but is malformed as a request.
        """
        cached = self._heads.get(block)
        if cached is not None:
            return cached
        headers, is_table_same, is_too_long = self._decoded(block)
        if is_too_long:
            return RequestHead.too_long(headers, self._max_list_bytes)
        head = RequestHead.from_headers(headers)
        if is_table_same and len(block) <= _MAX_CACHED_BYTES:
            if len(self._heads) >= _MAX_CACHED:
                self._heads.clear()
            self._heads[block] = head
        return head

    def skip(self, block: bytes) -> bool:
        """Applies any block to the dynamic table; returns whether it is too long.

        Raises:
            ConnectionFault: See `request_head`.
        """
        return self._decoded(block)[2]

    def _decoded(self, block: bytes) -> tuple[Headers, bool, bool]:
        """Returns the headers, whether the block left the dynamic table as it was, and whether it is too long."""
        before = self._table_state()
        is_too_long = len(block) > self._max_list_bytes
        try:
            headers = skip_block(block, self._decoder) if is_too_long else self._decode(block)
        except OversizedHeaderListError as error:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, f"too many headers: {error}") from error
        except (HPACKError, IndexError, ValueError) as error:
            raise ConnectionFault(ErrorCode.COMPRESSION_ERROR, f"headers cannot be read: {error}") from error
        after = self._table_state()
        # An entry that is added is a new object at the front, though it may equal another.
        is_table_same = before[:2] == after[:2] and before[2] is after[2]
        if not is_table_same:
            self._heads.clear()
            self._prefixes.clear()
        return headers, is_table_same, is_too_long or self._is_too_long(block, headers)

    def _is_too_long(self, block: bytes, headers: Headers) -> bool:
        # Few headers need not be measured: one is an entry of the table at most, or twice the bytes that it takes in the block.
        if 2 * len(block) + len(headers) * _MAX_ENTRY_BYTES <= self._max_list_bytes:
            return False
        size = sum([len(name) + len(value) for name, value in headers])
        return size + _FIELD_BYTES * len(headers) > self._max_list_bytes

    def _decode(self, block: bytes) -> Headers:
        # Most blocks begin with the same references, and end with literals that differ each time.
        size = 0
        while size < len(block) and _INDEXED <= block[size] < _LONG_INDEX:
            size += 1
        references = block[:size]
        begin = self._prefixes.get(references)
        if begin is None:
            begin = [(name, value) for name, value in self._decoder.decode(references, raw=True)]
            if size <= _MAX_CACHED_BYTES:
                if len(self._prefixes) >= _MAX_CACHED:
                    self._prefixes.clear()
                self._prefixes[references] = begin
        if size == len(block):
            return begin
        if size and block[size] & _UPDATE_BITS == _SIZE_UPDATE:
            raise HPACKError("the size of the table changes amid a block")
        return [*begin, *self._decoder.decode(block[size:], raw=True)]

    def _table_state(self) -> tuple[int, int, object]:
        table = self._decoder.header_table
        entries = table.dynamic_entries
        return table.maxsize, len(entries), entries[0] if entries else None


def _literal(name: bytes, value: bytes) -> bytes:
    return b"\x00" + _string(name) + _string(value)


def _string(text: bytes) -> bytes:
    length = len(text)
    if length < 0x7F:
        return bytes((length,)) + text
    return b"\x7f" + varint(length - 0x7F) + text


RESPONSE_HEADERS = (
    _STATUS_200
    + _CONTENT_TYPE
    + _string(b"application/grpc")
    + _literal(b"grpc-accept-encoding", ENCODINGS.encode())
)
"""Headers of a response without metadata."""

GZIP_HEADERS = RESPONSE_HEADERS + _literal(b"grpc-encoding", b"gzip")
"""Headers of a response whose messages may be compressed."""

OK_TRAILERS = _literal(b"grpc-status", b"0")
"""Trailers of status OK without metadata."""


def response_headers(metadata: Metadata = ()) -> bytes:
    """Returns the headers of a response with initial metadata."""
    return RESPONSE_HEADERS + _metadata(metadata)


def http_error_headers(status: int) -> bytes:
    """Returns the headers of a response to a request that is not gRPC, whose body is a sentence."""
    allow = _literal(b"allow", b"POST") if status == HTTPStatus.METHOD_NOT_ALLOWED else b""
    return _STATUS + _string(b"%d" % status) + _CONTENT_TYPE + _string(b"text/plain; charset=utf-8") + allow


def trailers(status: int, message: str = "", metadata: Metadata = ()) -> bytes:
    """Returns the trailers of a call: number of its gRPC status, message for a person, shortened if it is long, metadata."""
    block = _status(status)
    if message:
        block += _literal(b"grpc-message", _percent_encoded(bounded(message)))
    return block + _metadata(metadata)


@lru_cache
def _status(status: int) -> bytes:
    return _literal(b"grpc-status", b"%d" % status)


def _percent_encoded(message: str) -> bytes:
    return quote_from_bytes(message.encode("utf-8", "replace"), safe=_NOT_PERCENT_ENCODED).encode()


def _metadata(metadata: Iterable[tuple[str, str | bytes]]) -> bytes:
    block = b""
    for key, value in metadata:
        data = value.encode("latin-1", "replace") if isinstance(value, str) else value
        if key.endswith("-bin"):
            data = base64.b64encode(data).rstrip(b"=")
        block += _literal(key.encode("ascii"), data)
    return block
