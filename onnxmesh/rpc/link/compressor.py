"""Compression of the tensors in frames, on links where bytes cost more than encoding them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Protocol

from onnxmesh.rpc.frames.compressed_frames import compressed_frame, decompressed_frame, is_compressed
from onnxmesh.rpc.frames.frame_tensors import frame_body, read_tensor
from onnxmesh.rpc.frames.frames import Frame
from onnxmesh.rpc.link_policy.link_estimator import LinkEstimate
from onnxmesh.tensors.compression.codec import EncodedTensor, encode_elements
from onnxmesh.tensors.compression.compression_choice import (
    MIN_COMPRESSED_BYTES,
    NO_LOSS,
    SAMPLE_BYTES,
    UNCOMPRESSED,
    Boundary,
    Choice,
    CompressionChoice,
    LossAllowance,
)
from onnxmesh.tensors.compression.encoding import Encoding
from onnxmesh.tensors.tensor import Tensor
from onnxmesh.v1.frame_pb2 import Activation, Result, SentTensors

_NUM_SAMPLE_SLICES = 4
"""A sample is taken from this many places of a tensor."""


class CompressibleLink(Protocol):
    """What compression needs to know of a link; `onnxmesh.rpc.link.link.Link` is one."""

    @property
    def peer(self) -> str:
        """Node id of the peer."""

    @property
    def same_host(self) -> bool:
        """Whether the peer shares this host's memory: nothing is compressed then."""

    @property
    def estimate(self) -> LinkEstimate | None:
        """Latest measurements of the link; None before the first."""


@dataclass(frozen=True, slots=True)
class _Job:
    index: int
    tensor: Tensor
    choice: Choice


@dataclass(frozen=True, slots=True)
class _Attempt:
    encoding: Encoding
    num_bytes: int
    encoded: EncodedTensor | None
    seconds: float


class Compressor:
    """Compresses large tensors of frames for links so slow that this pays, and decompresses received frames.

    Encoding and decoding run in threads. Belongs to one event loop; one per process, which learns from all its links.

    Args:
        choice: Chooses the encodings; None: a new one.
        enabled: Whether frames are compressed; received ones are decompressed in any case.
    """

    def __init__(self, choice: CompressionChoice | None = None, *, enabled: bool = True) -> None:
        self._choice = choice or CompressionChoice()
        self._enabled = enabled
        self._sent: dict[tuple[str, Encoding], tuple[int, int]] = {}

    async def compress(
        self, frame: Frame, link: CompressibleLink, allowance: LossAllowance = NO_LOSS
    ) -> Frame:
        """Returns the frame as it should be sent on a link: unchanged where compression does not pay.

        Args:
            frame: A whole Activation or Result; others are returned unchanged.
            link: The link that it will be sent on.
            allowance: Which of its tensors may be rounded.
        """
        if frame.payload_bytes < MIN_COMPRESSED_BYTES or link.same_host:
            return frame
        estimate, body = link.estimate, frame_body(frame.header)
        if estimate is None or estimate.bytes_per_s is None or body is None:
            return frame
        boundary = _boundary(body)
        jobs = []
        for index, (described, payload) in enumerate(zip(body.tensors, frame.payloads, strict=True)):
            if len(payload) < MIN_COMPRESSED_BYTES:
                continue
            tensor = read_tensor(described, payload)
            choice = UNCOMPRESSED
            if self._enabled:
                choice = self._choice.choose(
                    boundary,
                    tensor.name,
                    tensor.datatype,
                    num_bytes=tensor.byte_size,
                    bytes_per_s=estimate.bytes_per_s,
                    roundings=allowance.of(tensor.name),
                )
            jobs.append(_Job(index, tensor, choice))
        compressed: dict[int, EncodedTensor] = {}
        if any(job.choice != UNCOMPRESSED for job in jobs):
            for job, attempts in zip(jobs, await asyncio.to_thread(_encode, jobs), strict=True):
                for attempt in attempts:
                    self._learn(boundary, job.tensor.name, attempt)
                encoded = next(
                    (each.encoded for each in attempts if each.encoding is job.choice.encoding), None
                )
                # One that did not get smaller is sent uncompressed.
                if encoded is not None and len(encoded.data) < job.tensor.byte_size:
                    compressed[job.index] = encoded
        for job in jobs:
            self._count(link.peer, job.tensor, compressed.get(job.index))
        return compressed_frame(frame, compressed) if compressed else frame

    async def decompress(self, frame: Frame) -> Frame:
        """Returns a received frame with all tensors decoded; an uncompressed frame is returned unchanged.

        Raises:
            CorruptData: A tensor does not match its description (DATA_LOSS).
        """
        if not is_compressed(frame):
            return frame
        decompressed, timings = await asyncio.to_thread(_decode, frame)
        for encoding, num_bytes, seconds in timings:
            self._choice.observe_decoding(encoding, num_bytes, seconds)
        return decompressed

    def sent_tensors(self) -> list[SentTensors]:
        """Returns the bytes that were sent to each peer on another host. May be called in any thread."""
        return [
            SentTensors(peer=peer, encoding=encoding.label, tensor_bytes=tensor_bytes, wire_bytes=wire_bytes)
            for (peer, encoding), (tensor_bytes, wire_bytes) in list(self._sent.items())
        ]

    def remove_peer(self, peer: str) -> None:
        """Removes the counters of a peer that is no longer connected."""
        for key in [key for key in self._sent if key[0] == peer]:
            del self._sent[key]

    def _learn(self, boundary: Boundary, tensor: str, attempt: _Attempt) -> None:
        self._choice.observe_encoding(
            boundary,
            tensor,
            attempt.encoding,
            num_bytes=attempt.num_bytes,
            encoded_bytes=None if attempt.encoded is None else len(attempt.encoded.data),
            seconds=attempt.seconds,
        )

    def _count(self, peer: str, tensor: Tensor, encoded: EncodedTensor | None) -> None:
        encoding = Encoding.NONE if encoded is None else encoded.encoding
        num_bytes, encoded_bytes = self._sent.get((peer, encoding), (0, 0))
        size = tensor.byte_size if encoded is None else len(encoded.data)
        self._sent[peer, encoding] = (num_bytes + tensor.byte_size, encoded_bytes + size)


def _boundary(body: Activation | Result) -> Boundary:
    if isinstance(body, Activation):
        return Boundary(f"to {body.route.hops[body.hop].stage}")
    return Boundary(f"from {body.timings[-1].stage}" if body.timings else "")


def _encode(jobs: Iterable[_Job]) -> list[list[_Attempt]]:
    """Returns the attempts of each job: the chosen encoding, and one on a sample. For a thread."""
    return [
        [
            *([_attempt(job.tensor, job.choice.encoding)] if job.choice.encoding else []),
            *([_attempt(_sample(job.tensor), job.choice.to_try)] if job.choice.to_try else []),
        ]
        for job in jobs
    ]


def _attempt(tensor: Tensor, encoding: Encoding) -> _Attempt:
    began_s = perf_counter()
    encoded = encode_elements(tensor, encoding)
    return _Attempt(encoding, tensor.byte_size, encoded, perf_counter() - began_s)


def _sample(tensor: Tensor) -> Tensor:
    """Returns at most `SAMPLE_BYTES` of elements, from several places of a tensor."""
    if tensor.byte_size <= SAMPLE_BYTES:
        return tensor
    element_bytes = max(1, tensor.datatype.bits // 8)
    slice_bytes = SAMPLE_BYTES // _NUM_SAMPLE_SLICES
    stride = (tensor.byte_size - slice_bytes) // (_NUM_SAMPLE_SLICES - 1) // element_bytes * element_bytes
    view = memoryview(tensor.data)
    data = b"".join(
        view[start : start + slice_bytes] for start in range(0, _NUM_SAMPLE_SLICES * stride, stride)
    )
    return Tensor(tensor.name, tensor.datatype, (len(data) // element_bytes,), data)


def _decode(frame: Frame) -> tuple[Frame, Sequence[tuple[Encoding, int, float]]]:
    """Returns the decompressed frame, and encoding, bytes and seconds of each decoded tensor. For a thread."""
    body = frame_body(frame.header)
    assert body is not None, "a frame with tensors"
    began_s = perf_counter()
    decompressed = decompressed_frame(frame)
    sizes = [
        (Encoding(tensor.encoding), tensor.decoded_bytes)
        for tensor in body.tensors
        if tensor.encoding and tensor.decoded_bytes
    ]
    per_byte_s = (perf_counter() - began_s) / max(1, sum(size for _, size in sizes))
    return decompressed, [(encoding, size, size * per_byte_s) for encoding, size in sizes]
