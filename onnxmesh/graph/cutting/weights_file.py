"""The file in which a partition keeps its large weights."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

import onnx
import onnx_ir as ir

from onnxmesh.files.digests import ListedFile
from onnxmesh.files.file_ranges import copy_range, read_chunks
from onnxmesh.graph.reading.node_order import value_name
from onnxmesh.ids import Digest

FILE_ALIGNMENT = 4096
"""Weights are mapped from the file: what starts at a page can be used in place, with the same alignment
and hence the same order of additions on every machine; and file systems can share whole pages."""

MIN_EXTERNAL_TENSOR_BYTES = 512
"""Smaller tensors stay in the model."""

_PIECE_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class WeightSegment:
    """One tensor's place in a file of weights.

    Attributes:
        tensor: The tensor, in another file or in memory.
        offset: Where it starts: a multiple of `FILE_ALIGNMENT`.
        num_bytes: Its size.
    """

    tensor: ir.TensorProtocol
    offset: int
    num_bytes: int

    @property
    def end(self) -> int:
        """One past its last byte."""
        return self.offset + self.num_bytes


def load_tensor(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    """Returns a tensor whose bytes are here: itself, or a copy of what lies in a file.

    onnx-ir would not read files with several hard links.

    Raises:
        OSError: The file cannot be read.
    """
    if not isinstance(tensor, ir.ExternalTensor):
        return tensor
    proto = onnx.TensorProto(name=tensor.name, data_type=int(tensor.dtype), dims=tensor.shape.numpy())
    with Path(tensor.path).open("rb") as file:
        file.seek(tensor.offset or 0)
        proto.raw_data = file.read(int(tensor.nbytes))
    return ir.from_proto(proto)


def externalise_weights(values: Iterable[ir.Value], home: Path, name: str) -> list[WeightSegment]:
    """Makes large initialisers refer to a file of weights that is still to be written, and returns its layout.

    Two initialisers with the same range of the same file share one segment. Small ones come into the model, wherever
    they were.

    Args:
        values: Initialisers, in the order in which they are laid out.
        home: Folder of the model.
        name: Name of the file of weights in that folder.
    """
    segments: list[WeightSegment] = []
    taken: dict[tuple[str, int, int], WeightSegment] = {}
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
        segment = None if source is None else taken.get(source)
        if segment is None:
            segment = WeightSegment(tensor, -(-end // FILE_ALIGNMENT) * FILE_ALIGNMENT, num_bytes)
            segments.append(segment)
            end = segment.end
            if source is not None:
                taken[source] = segment
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
    """Writes a file of weights and returns its description.

    Each byte is read once, when its digest is taken, right after it was copied. May run in a thread of its own.

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
            for end in _copied(segment, target, sources, opened):
                for chunk in read_chunks(target.fileno(), done, end):
                    digest.update(chunk)
                done = end
    return ListedFile(path.name, Digest(digest.hexdigest()), size)


def _range_of(tensor: ir.TensorProtocol, num_bytes: int) -> tuple[str, int, int] | None:
    if not isinstance(tensor, ir.ExternalTensor):
        return None
    return str(tensor.path), tensor.offset or 0, num_bytes


def _copied(
    segment: WeightSegment, target: FileIO, sources: dict[str, FileIO], opened: ExitStack
) -> Iterator[int]:
    """Copies a tensor in pieces; after each it yields the end of what is there."""
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
    for start in range(0, segment.num_bytes, _PIECE_BYTES):
        length = min(_PIECE_BYTES, segment.num_bytes - start)
        copy_range(sources[path].fileno(), target.fileno(), offset + start, segment.offset + start, length)
        yield segment.offset + start + length
