"""The choice of an encoding for each tensor and link: none where compression does not pay."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import NewType

from onnxmesh.estimation.smoothed_average import smoothed
from onnxmesh.tensors.compression.encoding import ROUNDINGS, Encoding
from onnxmesh.tensors.datatype import Datatype

Boundary = NewType("Boundary", str)
"""Names the tensors that are sent between two stages, or between a gateway and a stage, in one direction."""

MIN_COMPRESSED_BYTES = 16 << 10
"""Smaller tensors are sent uncompressed: a thread switch costs as much as they do."""

MAX_TIME_SHARE = 0.9
"""Encoding, sending and decoding may take at most this share of the time of sending uncompressed."""

SAMPLE_BYTES = 128 << 10
"""Bytes of the sample of a tensor on which an encoding is tried."""

RETRY_AFTER_SENDS = 64
"""Number of sends of a tensor after which an encoding that was not used is tried again."""

MAX_TENSORS = 1024
"""Tensors with measurements; the least recently sent one is evicted first."""

_WEIGHT = 0.2
"""Weight of a new measurement in the smoothed averages."""

_BEST_ZSTD = 0.02
"""The best compression ratio of zstd: an encoding is tried where it would pay with that."""

_MB = 1e-6
_FIRST_GUESS = {
    Encoding.ZSTD: (_MB / 400, _MB / 900),
    Encoding.FP16: (_MB / 700, _MB / 400),
    Encoding.INT8: (_MB / 2000, _MB / 3000),
    Encoding.FP16_ZSTD: (_MB / 300, _MB / 300),
    Encoding.INT8_ZSTD: (_MB / 800, _MB / 1500),
}
"""Seconds per byte to encode and to decode on one core, before anything was measured."""


@dataclass(frozen=True, slots=True)
class LossAllowance:
    """Which tensors may be rounded, and how.

    Attributes:
        roundings: Allowed roundings: `FP16`, `INT8`.
        tensors: Names of the tensors.
    """

    roundings: frozenset[Encoding] = frozenset()
    tensors: frozenset[str] = frozenset()

    @classmethod
    def of_labels(cls, labels: Iterable[str], tensors: Iterable[str]) -> LossAllowance:
        """Returns the allowance of a partition; unknown labels allow nothing."""
        allowed = frozenset(labels)
        return cls(frozenset(each for each in ROUNDINGS if each.label in allowed), frozenset(tensors))

    def of(self, tensor: str) -> frozenset[Encoding]:
        """Returns the allowed roundings of a tensor."""
        return self.roundings if tensor in self.tensors else frozenset()


NO_LOSS = LossAllowance()
"""Allows lossless encodings only."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The decision for one tensor that is about to be sent.

    Attributes:
        encoding: Its encoding.
        to_try: Encoding to measure on a sample as well, for later decisions; None: none.
    """

    encoding: Encoding
    to_try: Encoding | None = None


UNCOMPRESSED = Choice(Encoding.NONE)
"""The tensor is sent uncompressed and nothing is tried."""


@dataclass(slots=True)
class _Measured:
    """Smoothed measurements of a tensor in one encoding.

    Attributes:
        share: Encoded bytes as a share of the bytes; 1 where it could not be encoded.
        encode_s: Seconds per byte.
        at_num: How often the tensor had been sent at the last measurement.
    """

    share: float
    encode_s: float
    at_num: int


@dataclass(slots=True)
class _TensorRecord:
    num_sent: int = 0
    measured: dict[Encoding, _Measured] = field(default_factory=dict)


class CompressionChoice:
    """Learns what encodings cost this process and how far they compress each tensor, and chooses by the link's bandwidth.

    The encoding with the shortest time to encode, send and decode is chosen, if that is at least a tenth shorter than
    sending uncompressed. Encodings without measurements are tried on samples, where they could pay at all.
    """

    def __init__(self) -> None:
        self._encode_s = {each: encode_s for each, (encode_s, _) in _FIRST_GUESS.items()}
        self._decode_s = {each: decode_s for each, (_, decode_s) in _FIRST_GUESS.items()}
        self._records: OrderedDict[tuple[Boundary, str], _TensorRecord] = OrderedDict()

    def choose(
        self,
        boundary: Boundary,
        tensor: str,
        datatype: Datatype,
        *,
        num_bytes: int,
        bytes_per_s: float,
        roundings: Collection[Encoding] = (),
    ) -> Choice:
        """Returns the encoding of a tensor that is about to be sent.

        Args:
            boundary: Where it is sent.
            tensor: Its name.
            datatype: Its element type.
            num_bytes: Bytes of its elements.
            bytes_per_s: Bandwidth of the link.
            roundings: Allowed roundings.
        """
        if num_bytes < MIN_COMPRESSED_BYTES:
            return UNCOMPRESSED
        record = self._of(boundary, tensor)
        record.num_sent += 1
        limit_s = MAX_TIME_SHARE / bytes_per_s
        best, best_s = Encoding.NONE, limit_s
        to_try, longest_ago = None, 0
        for each in _candidates(datatype, roundings):
            measured, smallest = record.measured.get(each), _min_share(each, datatype)
            if measured is not None or not each.is_zstd:
                share = smallest if measured is None else measured.share
                total_s = self._total_s(each, measured, share, bytes_per_s)
                if total_s < best_s:
                    best, best_s = each, total_s
            ago = RETRY_AFTER_SENDS if measured is None else record.num_sent - measured.at_num
            if ago > longest_ago and ago >= RETRY_AFTER_SENDS:
                best_case_s = self._total_s(each, measured, smallest, bytes_per_s)
                if best_case_s < limit_s:
                    to_try, longest_ago = each, ago
        return Choice(best, None if to_try is best else to_try)

    def observe_encoding(
        self,
        boundary: Boundary,
        tensor: str,
        encoding: Encoding,
        *,
        num_bytes: int,
        encoded_bytes: int | None,
        seconds: float,
    ) -> None:
        """Records the encoding of a tensor or of a sample of it.

        Args:
            boundary: Where it is sent.
            tensor: Its name.
            encoding: The encoding.
            num_bytes: Bytes of the elements.
            encoded_bytes: Bytes after encoding; None: it could not be encoded.
            seconds: Time to encode.
        """
        record = self._of(boundary, tensor)
        share = 1.0 if encoded_bytes is None else encoded_bytes / num_bytes
        encode_s = seconds / num_bytes
        before = record.measured.get(encoding)
        if before is None:
            record.measured[encoding] = _Measured(share, encode_s, record.num_sent)
        else:
            before.share = smoothed(before.share, share, _WEIGHT)
            before.encode_s = smoothed(before.encode_s, encode_s, _WEIGHT)
            before.at_num = record.num_sent
        self._encode_s[encoding] = smoothed(self._encode_s[encoding], encode_s, _WEIGHT)

    def observe_decoding(self, encoding: Encoding, num_bytes: int, seconds: float) -> None:
        """Records the time to decode a tensor of `num_bytes` bytes; peers are assumed to be as fast."""
        self._decode_s[encoding] = smoothed(self._decode_s[encoding], seconds / num_bytes, _WEIGHT)

    def _of(self, boundary: Boundary, tensor: str) -> _TensorRecord:
        key = boundary, tensor
        record = self._records.setdefault(key, _TensorRecord())
        self._records.move_to_end(key)
        if len(self._records) > MAX_TENSORS:
            self._records.popitem(last=False)
        return record

    def _total_s(
        self, encoding: Encoding, measured: _Measured | None, share: float, bytes_per_s: float
    ) -> float:
        """Returns the seconds per byte to encode, send and decode."""
        encode_s = self._encode_s[encoding] if measured is None else measured.encode_s
        return encode_s + share / bytes_per_s + self._decode_s[encoding]


def _candidates(datatype: Datatype, roundings: Collection[Encoding]) -> Iterable[Encoding]:
    return (
        each
        for each in _FIRST_GUESS
        if each.accepts(datatype) and (each.is_lossless or each.rounding in roundings)
    )


def _min_share(encoding: Encoding, datatype: Datatype) -> float:
    """Returns the smallest possible share of a tensor's bytes; the exact one for encodings that only round."""
    share = 1.0 if encoding.is_lossless else encoding.stored_bits(datatype) / datatype.bits
    return share * _BEST_ZSTD if encoding.is_zstd else share
