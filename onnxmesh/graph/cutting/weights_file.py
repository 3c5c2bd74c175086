"""The weights file of a partition: its layout, and writing it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

import onnx_ir as ir

from onnxmesh.files.digests import ListedFile
from onnxmesh.files.file_ranges import copy_range, read_chunks
from onnxmesh.graph.reading.loaded_tensor import load_tensor
from onnxmesh.graph.reading.node_order import value_name
from onnxmesh.ids import Digest

FILE_ALIGNMENT = 4096
"""Offset alignment of weights. The file is memory-mapped: weights at page boundaries are used in place, with the same
alignment and hence the same order of additions on every machine; file systems can share whole pages."""

MIN_EXTERNAL_TENSOR_BYTES = 512
"""Smaller tensors stay in the model."""

_COPY_CHUNK_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class WeightSegment:
    """The range of one tensor in a weights file.

    Attributes:
        tensor: The tensor, in another file or in memory.
        offset: First byte; a multiple of `FILE_ALIGNMENT`.
        num_bytes: Size in bytes.
    """

    tensor: ir.TensorProtocol
    offset: int
    num_bytes: int

    @property
    def end(self) -> int:
        """One past its last byte."""
        return self.offset + self.num_bytes


def externalise_weights(values: Iterable[ir.Value], home: Path, name: str) -> list[WeightSegment]:
    """Makes large initialisers external, in a weights file that is still to be written, and returns its layout.

    Two initialisers with the same range of the same source file share one segment. Small ones are loaded into the
    model.

    Args:
        values: Initialisers, in the order of the layout.
        home: Folder of the model.
        name: File name of the weights file in that folder.
    """
    segments: list[WeightSegment] = []
    shared: dict[tuple[str, int, int], WeightSegment] = {}
    end = 0
    for value in values:
        tensor = value.const_value
        if tensor is None or tensor.dtype == ir.DataType.STRING:
            continue
        num_bytes = int(tensor.nbytes)
        if num_bytes < MIN_EXTERNAL_TENSOR_BYTES:
            value.const_value = load_tensor(tensor)
            continue
        source = _range_of(tensor, num_bytes)
        segment = None if source is None else shared.get(source)
        if segment is None:
            segment = WeightSegment(tensor, -(-end // FILE_ALIGNMENT) * FILE_ALIGNMENT, num_bytes)
            segments.append(segment)
            end = segment.end
            if source is not None:
                shared[source] = segment
        value.const_value = ir.ExternalTensor(
            name,
            segment.offset,
            num_bytes,
            tensor.dtype,
            shape=ir.Shape(tensor.shape.numpy()),
            name=value_name(value),
            base_dir=home,
        )
    return segments


def write_weights(path: Path, segments: Sequence[WeightSegment]) -> ListedFile:
    """Writes a weights file and returns its description.

    Each byte is read once, for the digest, right after it was copied. May run in a thread of its own.

    Raises:
        OSError: A source cannot be read, or the disk is full.
    """
    digest = hashlib.sha256()
    size = segments[-1].end if segments else 0
    done = 0
    with path.open("w+b", buffering=0) as target, ExitStack() as opened:
        sources: dict[str, FileIO] = {}
        os.ftruncate(target.fileno(), size)
        for segment in segments:
            for end in _copy_segment(segment, target, sources, opened):
                for chunk in read_chunks(target.fileno(), done, end):
                    digest.update(chunk)
                done = end
    return ListedFile(path.name, Digest(digest.hexdigest()), size)


def _range_of(tensor: ir.TensorProtocol, num_bytes: int) -> tuple[str, int, int] | None:
    if not isinstance(tensor, ir.ExternalTensor):
        return None
    return str(tensor.path), tensor.offset or 0, num_bytes


def _copy_segment(
    segment: WeightSegment, target: FileIO, sources: dict[str, FileIO], opened: ExitStack
) -> Iterator[int]:
    """Copies a tensor in chunks and yields the end offset after each."""
    place = _range_of(segment.tensor, segment.num_bytes)
    if place is None:
        target.seek(segment.offset)
        data = memoryview(segment.tensor.tobytes())
        while data:
            data = data[target.write(data) :]
        yield segment.end
        return
    path, offset, _ = place
    if path not in sources:
        sources[path] = opened.enter_context(FileIO(path))
    for start in range(0, segment.num_bytes, _COPY_CHUNK_BYTES):
        length = min(_COPY_CHUNK_BYTES, segment.num_bytes - start)
        copy_range(sources[path].fileno(), target.fileno(), offset + start, segment.offset + start, length)
        yield segment.offset + start + length
