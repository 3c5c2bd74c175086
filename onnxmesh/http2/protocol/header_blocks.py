"""Header blocks: those of requests read, those of answers written.

What is read depends on what the client sent before (HPACK); what is written never refers to anything, so that
most of it is constant.

Source: https://www.rfc-editor.org/rfc/rfc7541
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import quote_from_bytes

import grpc
from hpack import Decoder, HPACKError, OversizedHeaderListError

from onnxmesh.http2.protocol.error_codes import ConnectionFault, ErrorCode
from onnxmesh.http2.protocol.request_head import Metadata, RequestHead
from onnxmesh.rpc.frames.varint import varint

Headers = list[tuple[bytes, bytes]]

_MAX_KNOWN = 64
_KNOWN_BYTES = 512  # longer blocks are not kept
_INDEXED = 0x80
_LONG_INDEX = 0xFF
_UPDATE_BITS = 0xE0
_SIZE_UPDATE = 0x20
_STATUS_200 = b"\x88"
_STATUS = b"\x08"
_CONTENT_TYPE = b"\x0f\x10"
_UNPRINTABLE_KEPT = " !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~"


class HeaderBlocks:
    """The header blocks that one client sends.

    Clients send the same block again and again: one that leaves the table as it was means the same the next time.

    Args:
        max_list_bytes: How long the headers of one block may be.
    """

    __slots__ = ("_decoder", "_known", "_prefixes")

    def __init__(self, max_list_bytes: int) -> None:
        self._decoder = Decoder(max_list_bytes)
        self._known: dict[bytes, RequestHead] = {}
        self._prefixes: dict[bytes, Headers] = {}

    def head(self, block: bytes) -> RequestHead:
        """Returns the beginning of a call. Blocks must come in the order of the wire.

        Raises:
            ConnectionFault: The block cannot be read: later ones could not be either.
            StreamFault: It can, but is no request.
        """
        known = self._known.get(block)
        if known is not None:
            return known
        headers, is_same = self._decoded(block)
        head = RequestHead.of(headers)
        if is_same and len(block) <= _KNOWN_BYTES:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            self._known[block] = head
        return head

    def read(self, block: bytes) -> Headers:
        """Returns the headers of any block.

        Raises:
            ConnectionFault: See `head`.
        """
        return self._decoded(block)[0]

    def _decoded(self, block: bytes) -> tuple[Headers, bool]:
        """Returns the headers, and whether the block left the table as it was."""
        before = self._state()
        try:
            headers = self._read(block)
        except OversizedHeaderListError as error:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, f"too many headers: {error}") from error
        except (HPACKError, IndexError, ValueError) as error:
            raise ConnectionFault(ErrorCode.COMPRESSION_ERROR, f"headers cannot be read: {error}") from error
        after = self._state()
        # Whatever is added is a new object at the front, though it may equal another.
        is_same = before[:2] == after[:2] and before[2] is after[2]
        if not is_same:
            self._known.clear()
            self._prefixes.clear()
        return headers, is_same

    def _read(self, block: bytes) -> Headers:
        # Most begin with the same references, and end with what is different each time.
        size = 0
        while size < len(block) and _INDEXED <= block[size] < _LONG_INDEX:
            size += 1
        references = block[:size]
        begin = self._prefixes.get(references)
        if begin is None:
            begin = [(name, value) for name, value in self._decoder.decode(references, raw=True)]
            if size <= _KNOWN_BYTES:
                if len(self._prefixes) >= _MAX_KNOWN:
                    self._prefixes.clear()
                self._prefixes[references] = begin
        if size == len(block):
            return begin
        if size and block[size] & _UPDATE_BITS == _SIZE_UPDATE:
            raise HPACKError("the size of the table changes amid a block")
        return [*begin, *self._decoder.decode(block[size:], raw=True)]

    def _state(self) -> tuple[int, int, object]:
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


ANSWER_HEADERS = _STATUS_200 + _CONTENT_TYPE + _string(b"application/grpc")
"""The headers of an answer that has no metadata."""

OK_TRAILERS = _literal(b"grpc-status", b"0")
"""The trailers of a call that ended well."""


def answer_headers(metadata: Metadata = ()) -> bytes:
    """Returns the headers of an answer with its metadata."""
    return ANSWER_HEADERS + _metadata(metadata)


def http_refusal(status: int) -> bytes:
    """Returns the headers of an answer to a client that speaks no gRPC."""
    return _STATUS + _string(str(status).encode())


def trailers(code: grpc.StatusCode, message: str = "", metadata: Metadata = ()) -> bytes:
    """Returns how a call ends: status, message for a person, metadata."""
    block = _status(code)
    if message:
        block += _literal(b"grpc-message", _percent_encoded(message))
    return block + _metadata(metadata)


@lru_cache
def _status(code: grpc.StatusCode) -> bytes:
    return _literal(b"grpc-status", str(code.value[0]).encode())


def _percent_encoded(message: str) -> bytes:
    return quote_from_bytes(message.encode("utf-8", "replace"), safe=_UNPRINTABLE_KEPT).encode()


def _metadata(metadata: Iterable[tuple[str, str | bytes]]) -> bytes:
    block = b""
    for key, value in metadata:
        data = value.encode("latin-1", "replace") if isinstance(value, str) else value
        if key.endswith("-bin"):
            data = base64.b64encode(data).rstrip(b"=")
        block += _literal(key.encode("ascii"), data)
    return block
