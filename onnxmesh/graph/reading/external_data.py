"""External data: tensors whose bytes are in files beside the model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import onnx

from onnxmesh.errors import InvalidModel
from onnxmesh.files.data_location import data_file, data_files, path_within
from onnxmesh.files.file_ranges import link_or_copy
from onnxmesh.files.foreign_file import foreign_file

_RESERVED_PREFIX = "optimised"
"""Prefix, after any dots, of all files that are derived from a model before it is cut."""


@dataclass(frozen=True, slots=True)
class ExternalTensor:
    """The declared location of a tensor's bytes; `check_external` validates it.

    Attributes:
        name: Name of the tensor.
        location: Path relative to the model's folder, as the model declares it.
        offset: First byte in that file.
        length: Number of bytes, or None for the rest of the file.
    """

    name: str
    location: str
    offset: int
    length: int | None


def tensors_of(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Yields every tensor in a model: initialisers and attributes, in subgraphs and functions too."""
    yield from _tensors_of_graph(model.graph)
    for function in model.functions:
        yield from _tensors_of_nodes(function.node)


def _tensors_of_graph(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield sparse.values
        yield sparse.indices
    yield from _tensors_of_nodes(graph.node)


def _tensors_of_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            if attribute.HasField("g"):
                yield from _tensors_of_graph(attribute.g)
            for graph in attribute.graphs:
                yield from _tensors_of_graph(graph)


def external_tensors(model: onnx.ModelProto) -> list[ExternalTensor]:
    """Returns the external tensors of a model that was loaded without their data.

    Raises:
        InvalidModel: An external tensor has no location, or an offset or length that is no number (INVALID_ARGUMENT).
    """
    return [
        _read_entry(tensor)
        for tensor in tensors_of(model)
        if tensor.data_location == onnx.TensorProto.EXTERNAL
    ]


def _read_entry(tensor: onnx.TensorProto) -> ExternalTensor:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    if not entries.get("location"):
        raise InvalidModel(f"tensor '{tensor.name}': external data has no location")
    try:
        offset = int(entries.get("offset", "0"))
        length = int(entries["length"]) if "length" in entries else None
    except ValueError as error:
        raise InvalidModel(f"tensor '{tensor.name}': external offset or length is not a number") from error
    if offset < 0 or (length is not None and length < 0):
        raise InvalidModel(f"tensor '{tensor.name}': external offset or length is negative")
    return ExternalTensor(tensor.name, entries["location"], offset, length)


def check_external(tensor: ExternalTensor, folder: Path, *, follow_links: bool = False) -> None:
    """Checks that an external tensor's bytes are in a file within the model's folder.

    Args:
        tensor: The tensor.
        folder: The model's folder.
        follow_links: Whether symbolic links may lead out of the folder: for files of the user who runs this process, as
            in the cache of Hugging Face, never for those that somebody uploaded.

    Raises:
        InvalidModel: The path leaves the folder, also through a symbolic link unless `follow_links`; the file is
            missing or too short (INVALID_ARGUMENT).
    """
    path = data_file(folder, tensor.location)
    if path is None:
        raise InvalidModel(
            f"tensor '{tensor.name}': external data '{tensor.location}' is outside the model's folder"
        )
    if not path.is_file():
        raise InvalidModel(
            f"tensor '{tensor.name}': external data file '{tensor.location}' is missing beside the model"
        )
    if not follow_links and not path.resolve().is_relative_to(folder.resolve()):
        raise InvalidModel(
            f"tensor '{tensor.name}': external data '{tensor.location}' links to outside the model's folder"
        )
    size = path.stat().st_size
    needed = tensor.offset + (tensor.length or 0)
    if size < needed:
        if what := foreign_file(path):
            raise InvalidModel(f"tensor '{tensor.name}': external data file '{tensor.location}' is {what}")
        raise InvalidModel(
            f"tensor '{tensor.name}': external data file '{tensor.location}': expected at least {needed} bytes, got "
            f"{size}: download or export it again"
        )


def external_files(model: onnx.ModelProto, folder: Path) -> dict[str, Path]:
    """Returns the external data files of a model: by their path relative to its folder, as `path_within` has it.

    Args:
        model: A model whose external tensors `check_external` accepts.
        folder: Its folder.
    """
    return data_files(folder, (tensor.location for tensor in external_tensors(model)))


def write_plain_locations(model: onnx.ModelProto) -> bool:
    """Rewrites every location as `path_within` has it, in place; returns whether one was written otherwise."""
    changed = False
    for tensor in tensors_of(model):
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        for entry in tensor.external_data:
            path = path_within(entry.value) if entry.key == "location" else None
            if path is not None and str(path) != entry.value:
                entry.value = str(path)
                changed = True
    return changed


def shareable_locations(model: onnx.ModelProto) -> list[str]:
    """Returns the external data files of a model that a derived model can share; an empty list if one cannot be shared.

    A file whose name starts with the reserved prefix is not shared: writing a derived file would overwrite the owner's.

    Args:
        model: A model with plain locations.
    """
    locations = sorted({tensor.location for tensor in external_tensors(model)})
    names = [PurePosixPath(location).parts[0].lower() for location in locations]
    return [] if any(name.lstrip(".").startswith(_RESERVED_PREFIX) for name in names) else locations


def link_external_files(files: Mapping[str, Path], target: Path) -> None:
    """Links external data files into another folder, or copies them where hard links are not possible.

    ONNX Runtime refuses external data through symbolic links and paths that leave the model's folder.

    Args:
        files: By the path that they get in the folder.
        target: The folder.

    Raises:
        OSError: A file cannot be linked or copied.
    """
    for name, source in files.items():
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        link_or_copy(source, path)
