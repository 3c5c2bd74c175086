"""What leaves over slow ways in fewer bytes, and what comes so."""

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
from onnxmesh.tensors.compression.codec import Encoded, encode_elements
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

_SAMPLE_PIECES = 4
"""Places of a tensor that a sample is taken from."""


class CompressibleLink(Protocol):
    """What it asks of a link; `onnxmesh.rpc.link.link.Link` is one."""

    @property
    def peer(self) -> str:
        """Node id of the other side."""

    @property
    def same_host(self) -> bool:
        """Whether the other side sees this host's memory: there nothing is compressed."""

    @property
    def estimate(self) -> LinkEstimate | None:
        """The way to the peer, as it was measured lately."""


@dataclass(frozen=True, slots=True)
class _Job:
    index: int
    tensor: Tensor
    choice: Choice


@dataclass(frozen=True, slots=True)
class _Tried:
    encoding: Encoding
    num_bytes: int
    encoded: Encoded | None
    seconds: float


class Compressor:
    """Writes the large tensors of frames in fewer bytes where a way is so slow that this pays, and reads such frames.

    The work is done in threads. Belongs to one event loop; one for a process, which learns from all its links.

    Args:
        choice: What it has learned.
        enabled: Whether anything is written in fewer bytes; what comes so is read either way.
    """

    def __init__(self, choice: CompressionChoice | None = None, *, enabled: bool = True) -> None:
        self._choice = choice or CompressionChoice()
        self._enabled = enabled
        self._sent: dict[tuple[str, Encoding], tuple[int, int]] = {}

    async def compress(
        self, frame: Frame, link: CompressibleLink, allowance: LossAllowance = NO_LOSS
    ) -> Frame:
        """Returns the frame as it should go over a link: itself, where nothing else pays.

        Args:
            frame: An Activation or a Result, whole.
            link: Where it is about to be sent.
            allowance: Which of its tensors may lose bits.
        """
        if frame.payload_bytes < MIN_COMPRESSED_BYTES or link.same_host:
            return frame
        way, body = link.estimate, frame_body(frame.header)
        if way is None or way.bytes_per_s is None or body is None:
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
                    tensor.byte_size,
                    way.bytes_per_s,
                    allowance.of(tensor.name),
                )
            jobs.append(_Job(index, tensor, choice))
        written: dict[int, Encoded] = {}
        if any(job.choice != UNCOMPRESSED for job in jobs):
            for job, tries in zip(jobs, await asyncio.to_thread(_done, jobs), strict=True):
                for tried in tries:
                    self._learn(boundary, job.tensor.name, tried)
                encoded = next(
                    (tried.encoded for tried in tries if tried.encoding is job.choice.encoding), None
                )
                # One that did not get smaller after all is as well sent as it is.
                if encoded is not None and len(encoded.data) < job.tensor.byte_size:
                    written[job.index] = encoded
        for job in jobs:
            self._count(link.peer, job.tensor, written.get(job.index))
        return compressed_frame(frame, written) if written else frame

    async def decompress(self, frame: Frame) -> Frame:
        """Returns a frame that came so with the elements of its tensors; others are returned as they are.

        Raises:
            CorruptData: A tensor is not what it is said to be (DATA_LOSS).
        """
        if not is_compressed(frame):
            return frame
        whole, seconds = await asyncio.to_thread(_read, frame)
        for encoding, num_bytes, took_s in seconds:
            self._choice.observe_decoding(encoding, num_bytes, took_s)
        return whole

    def sent_tensors(self) -> list[SentTensors]:
        """Returns what was sent, to each peer that is not on this host. May be called in any thread."""
        return [
            SentTensors(peer=peer, encoding=encoding.label, tensor_bytes=tensor_bytes, wire_bytes=wire_bytes)
            for (peer, encoding), (tensor_bytes, wire_bytes) in list(self._sent.items())
        ]

    def remove_peer(self, peer: str) -> None:
        """Drops what was counted for a peer that is gone."""
        for key in [key for key in self._sent if key[0] == peer]:
            del self._sent[key]

    def _learn(self, boundary: Boundary, tensor: str, tried: _Tried) -> None:
        size = None if tried.encoded is None else len(tried.encoded.data)
        self._choice.observe_encoding(boundary, tensor, tried.encoding, tried.num_bytes, size, tried.seconds)

    def _count(self, peer: str, tensor: Tensor, encoded: Encoded | None) -> None:
        encoding = Encoding.NONE if encoded is None else encoded.encoding
        num_bytes, encoded_bytes = self._sent.get((peer, encoding), (0, 0))
        size = tensor.byte_size if encoded is None else len(encoded.data)
        self._sent[peer, encoding] = (num_bytes + tensor.byte_size, encoded_bytes + size)


def _boundary(body: Activation | Result) -> Boundary:
    if isinstance(body, Activation):
        return Boundary(f"to {body.route.hops[body.hop].stage}")
    return Boundary(f"from {body.timings[-1].stage}" if body.timings else "")


def _done(jobs: Iterable[_Job]) -> list[list[_Tried]]:
    """Returns what came of each job. Takes time."""
    return [
        [
            *([_tried(job.tensor, job.choice.encoding)] if job.choice.encoding else []),
            *([_tried(_sample(job.tensor), job.choice.to_try)] if job.choice.to_try else []),
        ]
        for job in jobs
    ]


def _tried(tensor: Tensor, encoding: Encoding) -> _Tried:
    began_s = perf_counter()
    encoded = encode_elements(tensor, encoding)
    return _Tried(encoding, tensor.byte_size, encoded, perf_counter() - began_s)


def _sample(tensor: Tensor) -> Tensor:
    """Returns elements from several places of a tensor, which are as many as a sample may have."""
    if tensor.byte_size <= SAMPLE_BYTES:
        return tensor
    element_bytes = max(1, tensor.datatype.bits // 8)
    piece_bytes = SAMPLE_BYTES // _SAMPLE_PIECES
    apart = (tensor.byte_size - piece_bytes) // (_SAMPLE_PIECES - 1) // element_bytes * element_bytes
    view = memoryview(tensor.data)
    data = b"".join(view[at : at + piece_bytes] for at in range(0, _SAMPLE_PIECES * apart, apart))
    return Tensor(tensor.name, tensor.datatype, (len(data) // element_bytes,), data)


def _read(frame: Frame) -> tuple[Frame, Sequence[tuple[Encoding, int, float]]]:
    """Returns the frame with its elements, and what decoding took: encoding, bytes, seconds. Takes time."""
    body = frame_body(frame.header)
    assert body is not None, "a frame with tensors"
    began_s = perf_counter()
    whole = decompressed_frame(frame)
    sizes = [
        (Encoding(tensor.encoding), tensor.decoded_bytes)
        for tensor in body.tensors
        if tensor.encoding and tensor.decoded_bytes
    ]
    per_byte_s = (perf_counter() - began_s) / max(1, sum(size for _, size in sizes))
    return whole, [(encoding, size, size * per_byte_s) for encoding, size in sizes]
