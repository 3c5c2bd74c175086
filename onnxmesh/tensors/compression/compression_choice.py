"""Whether a tensor is worth being written in fewer bytes for one way, and in which encoding. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import NewType

from onnxmesh.tensors.compression.encoding import ROUNDINGS, Encoding
from onnxmesh.tensors.datatype import Datatype

Boundary = NewType("Boundary", str)
"""Names what crosses between two stages, or between a gateway and a stage, in one direction."""

MIN_COMPRESSED_BYTES = 16 << 10
"""Smaller tensors are sent as they are: a change of thread costs as much as they do."""

MAX_TIME_SHARE = 0.9
"""What time is left at the most for encoding, sending and decoding, as a share of that for sending as it is."""

SAMPLE_BYTES = 128 << 10
"""How much of a tensor is written to see what would become of it."""

RETRY_AFTER_SENDS = 64
"""After so many times that a tensor was sent, what is known of an encoding that was not used is tried again."""

MAX_TENSORS = 1024
"""Tensors of which something is remembered; that longest not sent goes first."""

_WEIGHT = 0.2
"""Of a new figure against those before."""

_BEST_ZSTD = 0.02
"""What zstd may leave: an encoding is tried where it would pay if it did."""

_MB = 1e-6
_FIRST_GUESS = {
    Encoding.ZSTD: (_MB / 400, _MB / 900),
    Encoding.FP16: (_MB / 700, _MB / 400),
    Encoding.INT8: (_MB / 2000, _MB / 3000),
    Encoding.FP16_ZSTD: (_MB / 300, _MB / 300),
    Encoding.INT8_ZSTD: (_MB / 800, _MB / 1500),
}
"""Seconds for each byte of the elements, to encode and to decode, before anything was seen: what one core does."""


@dataclass(frozen=True, slots=True)
class LossAllowance:
    """Which tensors may lose bits, and how.

    Attributes:
        roundings: `FP16`, `INT8`.
        tensors: By name.
    """

    roundings: frozenset[Encoding] = frozenset()
    tensors: frozenset[str] = frozenset()

    @classmethod
    def of_labels(cls, labels: Iterable[str], tensors: Iterable[str]) -> LossAllowance:
        """Returns what a partition allows; labels that are not known here allow nothing."""
        allowed = frozenset(labels)
        return cls(frozenset(each for each in ROUNDINGS if each.label in allowed), frozenset(tensors))

    def of(self, tensor: str) -> frozenset[Encoding]:
        """Returns how a tensor may lose bits."""
        return self.roundings if tensor in self.tensors else frozenset()


NO_LOSS = LossAllowance()
"""Every bit is kept."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What to do with a tensor now.

    Attributes:
        encoding: How to write it.
        to_try: What to write a sample of it in besides, to know more the next time; None: nothing.
    """

    encoding: Encoding
    to_try: Encoding | None = None


UNCOMPRESSED = Choice(Encoding.NONE)
"""Nothing is done with it."""


@dataclass(slots=True)
class _Seen:
    """What became of a tensor in one encoding.

    Attributes:
        share: Of its bytes that was left; 1 where it could not be written so.
        encode_s: Seconds for each byte.
        at_num: How often the tensor had been sent then.
    """

    share: float
    encode_s: float
    at_num: int


@dataclass(slots=True)
class _Known:
    num_sent: int = 0
    seen: dict[Encoding, _Seen] = field(default_factory=dict)


class CompressionChoice:
    """Learns what encodings cost this process and what they leave of each tensor, and weighs that against the way.

    Written, sent and read is what counts: the least of these times is chosen, where it is less than sending the
    elements by a tenth. What no run has shown yet is tried on samples, where it could pay at all.
    """

    def __init__(self) -> None:
        self._encode_s = {each: encode_s for each, (encode_s, _) in _FIRST_GUESS.items()}
        self._decode_s = {each: decode_s for each, (_, decode_s) in _FIRST_GUESS.items()}
        self._known: OrderedDict[tuple[Boundary, str], _Known] = OrderedDict()

    def choose(
        self,
        boundary: Boundary,
        tensor: str,
        datatype: Datatype,
        num_bytes: int,
        bytes_per_s: float,
        roundings: Collection[Encoding] = (),
    ) -> Choice:
        """Returns how to write a tensor that is about to be sent.

        Args:
            boundary: What it crosses.
            tensor: Its name.
            datatype: Of its elements.
            num_bytes: Bytes of its elements.
            bytes_per_s: What the way carries.
            roundings: How it may lose bits.
        """
        if num_bytes < MIN_COMPRESSED_BYTES:
            return UNCOMPRESSED
        known = self._of(boundary, tensor)
        known.num_sent += 1
        limit_s = MAX_TIME_SHARE / bytes_per_s
        best, best_s = Encoding.NONE, limit_s
        to_try, longest_ago = None, 0
        for each in _candidates(datatype, roundings):
            seen, least = known.seen.get(each), _least_share(each, datatype)
            if seen is not None or not each.is_zstd:
                share = least if seen is None else seen.share
                takes_s = self._takes_s(each, seen, share, bytes_per_s)
                if takes_s < best_s:
                    best, best_s = each, takes_s
            ago = RETRY_AFTER_SENDS if seen is None else known.num_sent - seen.at_num
            if ago > longest_ago and ago >= RETRY_AFTER_SENDS:
                hoped_s = self._takes_s(each, seen, least, bytes_per_s)
                if hoped_s < limit_s:
                    to_try, longest_ago = each, ago
        return Choice(best, None if to_try is best else to_try)

    def observe_encoding(
        self,
        boundary: Boundary,
        tensor: str,
        encoding: Encoding,
        num_bytes: int,
        encoded_bytes: int | None,
        seconds: float,
    ) -> None:
        """Takes what became of a tensor, or of a sample of it.

        Args:
            boundary: What it crosses.
            tensor: Its name.
            encoding: How it was written.
            num_bytes: Bytes of the elements.
            encoded_bytes: What was left; None: it could not be written so.
            seconds: How long that took.
        """
        known = self._of(boundary, tensor)
        share = 1.0 if encoded_bytes is None else encoded_bytes / num_bytes
        encode_s = seconds / num_bytes
        before = known.seen.get(encoding)
        if before is None:
            known.seen[encoding] = _Seen(share, encode_s, known.num_sent)
        else:
            before.share += _WEIGHT * (share - before.share)
            before.encode_s += _WEIGHT * (encode_s - before.encode_s)
            before.at_num = known.num_sent
        self._encode_s[encoding] += _WEIGHT * (encode_s - self._encode_s[encoding])

    def observe_decoding(self, encoding: Encoding, num_bytes: int, seconds: float) -> None:
        """Takes how long it took to decode a tensor of so many bytes; peers are taken to be as fast."""
        self._decode_s[encoding] += _WEIGHT * (seconds / num_bytes - self._decode_s[encoding])

    def _of(self, boundary: Boundary, tensor: str) -> _Known:
        key = boundary, tensor
        known = self._known.setdefault(key, _Known())
        self._known.move_to_end(key)
        if len(self._known) > MAX_TENSORS:
            self._known.popitem(last=False)
        return known

    def _takes_s(self, encoding: Encoding, seen: _Seen | None, share: float, bytes_per_s: float) -> float:
        """Returns seconds for each byte of the elements, from before encoding to after decoding."""
        encode_s = self._encode_s[encoding] if seen is None else seen.encode_s
        return encode_s + share / bytes_per_s + self._decode_s[encoding]


def _candidates(datatype: Datatype, roundings: Collection[Encoding]) -> Iterable[Encoding]:
    return (
        each
        for each in _FIRST_GUESS
        if each.takes(datatype) and (each.is_lossless or each.rounding in roundings)
    )


def _least_share(encoding: Encoding, datatype: Datatype) -> float:
    """Returns what may be left of a tensor: exactly that, where only rounding makes it smaller."""
    share = 1.0 if encoding.is_lossless else encoding.stored_bits(datatype) / datatype.bits
    return share * _BEST_ZSTD if encoding.is_zstd else share
